/* SPDX-License-Identifier: BSD-2-Clause */
/* Claims, grants and terms at the target (docs/PROTOCOL.md, 6). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "target_internal.h"

int claim_open(struct target_mirror *mirror, struct affinity_entry *affinity)
{
	struct claim *claim = calloc(1, sizeof(*claim));

	if (!claim)
		return -ENOMEM;
	claim->affinity = affinity;
	affinity->claim = claim;
	DL_APPEND(mirror->claims, claim);
	return 0;
}

void claim_close(struct target_mirror *mirror, struct affinity_entry *affinity)
{
	if (!affinity->claim)
		return;
	DL_DELETE(mirror->claims, affinity->claim);
	free(affinity->claim);
	affinity->claim = NULL;
}

void claims_forget_router(struct target_mirror *mirror, unsigned int router)
{
	struct claim *claim;

	DL_FOREACH (mirror->claims, claim)
		claim->granted &= (uint16_t)~reader_bit(router);
}

/*
 * The routers that have to grant: those with a session that are active; and those that were active
 * when their session ended, for as long as they may not have noticed, or until they say what they
 * are now. 0 while no active router has a session: somebody must be there to ask.
 */
static uint16_t routers_to_grant(const struct target_mirror *mirror)
{
	uint16_t active = 0, silent = 0;

	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		const struct peer *peer = &mirror->peers[i];

		if (peer->view.connected && peer->view.role == ROLE_ACTIVE)
			active |= reader_bit(i);
		else if (peer->counts_until_ms > mirror->now_ms)
			silent |= reader_bit(i);
	}
	return active ? active | silent : 0;
}

/* Its end, or another request, may be an event that is not read yet: for what is no more nobody is
 * displaced. */
static bool is_still_there(const struct target_mirror *mirror,
			   const struct affinity_entry *affinity)
{
	struct target_affinity value;

	return mirror->ops.read_affinity(mirror->context, &affinity->entry.key.affinity, &value) ==
		       0 &&
	       value.word >> 8 == affinity->id;
}

static void publish(struct target_mirror *mirror, struct claim *claim)
{
	struct affinity_entry *affinity = claim->affinity;
	struct term highest = {0, 0};

	if (!is_still_there(mirror, affinity))
		return;
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (claim->granted & reader_bit(i) && term_above(&claim->term[i], &highest))
			highest = claim->term[i];
	claim_close(mirror, affinity);
	mirror->ops.publish(mirror->context, &affinity->entry.key.affinity, affinity->id, &highest);
	set_term(mirror, affinity, &highest);
}

static void conclude(struct target_mirror *mirror, struct claim *claim, uint16_t needed)
{
	if (needed && !(needed & ~claim->granted))
		publish(mirror, claim);
}

void claims_conclude(struct target_mirror *mirror)
{
	uint16_t needed = routers_to_grant(mirror);
	struct claim *claim, *following;

	DL_FOREACH_SAFE (mirror->claims, claim, following)
		conclude(mirror, claim, needed);
}

static enum affinity_end end_of(uint8_t refuse_reason)
{
	switch (refuse_reason) {
	case REFUSE_FULL:
		return END_FULL;
	case REFUSE_SERVICE:
		return END_SERVICE;
	default:
		return END_REFUSED;
	}
}

static struct affinity_entry *find_answered(struct target_mirror *mirror, unsigned int router,
					    const struct message_answer *answer)
{
	union entry_key key = {.affinity = {.client = answer->client}};
	struct affinity_entry *affinity;

	for (uint16_t i = 0; i < MAX_SERVICES; i++) {
		if (!mirror->peers[router].scope_visible[i] ||
		    strncmp(mirror->scopes[i].name, answer->scope, NAME_SIZE) != 0)
			continue;
		key.affinity.scope = i;
		affinity = (struct affinity_entry *)table_find(&mirror->affinities, &key);
		if (affinity && affinity->entry.present && affinity->id == answer->id)
			return affinity;
	}
	return NULL;
}

static void end_affinity(struct target_mirror *mirror, struct affinity_entry *affinity,
			 enum affinity_end reason)
{
	struct affinity_key key = affinity->entry.key.affinity;

	mirror->ops.end_affinity(mirror->context, &key, affinity->id, reason);
	target_mirror_affinity(mirror, &key); /* without waiting for the event */
}

int claims_answer(struct target_mirror *mirror, unsigned int router, uint8_t type,
		  const struct message_answer *answer)
{
	struct affinity_entry *affinity;

	if (type != MESSAGE_REFUSE && hear_clock(mirror, answer->term.clock) < 0)
		return -EPROTO;
	affinity = find_answered(mirror, router, answer);
	if (!affinity)
		return 0; /* to an affinity that has ended meanwhile */
	if (type == MESSAGE_LOST) {
		/* The same term: another's with a higher node id (sync/mirror_claims.c). */
		if (!term_above(&affinity->term, &answer->term))
			end_affinity(mirror, affinity, END_LOST);
		return 0;
	}
	if (!affinity->claim)
		return 0; /* published meanwhile */
	if (type == MESSAGE_REFUSE) {
		end_affinity(mirror, affinity, end_of(answer->reason));
		return 0;
	}
	affinity->claim->granted |= reader_bit(router);
	affinity->claim->term[router] = answer->term;
	conclude(mirror, affinity->claim, routers_to_grant(mirror));
	return 0;
}
