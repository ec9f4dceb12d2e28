/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_answers.c - what an active router answers to claims, and when: GRANT, REFUSE, LOST
 * (docs/PROTOCOL.md, section 6).
 */
#include <string.h>

#include "mirror_internal.h"

void mirror_claim_reply(struct router_mirror *mirror, const struct claim *claim, uint8_t type,
			const struct term *term, enum refuse_reason reason)
{
	const struct affinity_key *key = &claim->contest->key;
	struct message message = {.type = type};

	memcpy(message.answer.scope, mirror->scopes[key->scope].name, NAME_SIZE);
	message.answer.client = key->client;
	message.answer.id = claim->id;
	if (term)
		message.answer.term = *term;
	message.answer.reason = (uint8_t)reason;
	mirror->ops.send(mirror->context, claim->target, &message);
}

static void refuse(struct router_mirror *mirror, const struct claim *claim,
		   enum refuse_reason reason)
{
	mirror->counts.refused++;
	mirror_claim_reply(mirror, claim, MESSAGE_REFUSE, NULL, reason);
}

/* Only who may answer says so; a standby ignores what it does not know. */
void mirror_refuse_unlisted(struct router_mirror *mirror, const struct peer *peer,
			    const struct message_affinity *message)
{
	struct message answer = {.type = MESSAGE_REFUSE};

	mirror->counts.unlisted++;
	if (mirror->role != ROLE_ACTIVE || !term_is_zero(&message->term))
		return;
	memcpy(answer.answer.scope, message->scope, NAME_SIZE);
	answer.answer.client = message->client;
	answer.answer.id = message->id;
	answer.answer.reason = REFUSE_SERVICE;
	mirror->counts.refused++;
	mirror->ops.send(mirror->context, peer->number, &answer);
}

void mirror_claim_pend(struct router_mirror *mirror, struct claim *claim, bool pending)
{
	if (claim->pending == pending)
		return;
	claim->pending = pending;
	if (pending)
		TAILQ_INSERT_TAIL(&mirror->pending, claim, in_pending);
	else
		TAILQ_REMOVE(&mirror->pending, claim, in_pending);
}

void mirror_claim_begin(struct claim *claim)
{
	claim->waits = claim->answered = claim->granted = claim->revoked = false;
}

void mirror_contest_wake(struct router_mirror *mirror, struct contest *contest)
{
	for (struct claim *claim = contest->claims; claim; claim = claim->next) {
		if (!claim->waits)
			continue;
		claim->waits = false;
		mirror_claim_pend(mirror, claim, true);
	}
}

void mirror_contest_conclude(struct router_mirror *mirror, struct contest *contest)
{
	contest->tentative = NO_NUMBER;
	mirror_contest_wake(mirror, contest);
}

/* Whoever waits for an answer is answered by the new owner. */
void mirror_claims_activated(struct router_mirror *mirror)
{
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];
		struct claim *claim;

		if (!peer || !peer->open)
			continue;
		LIST_FOREACH (claim, &peer->claims, of_target) {
			if (claim->session != peer->session || !term_is_zero(&claim->term))
				continue;
			claim->answered = claim->waits = false;
			mirror_claim_pend(mirror, claim, true);
		}
	}
}

static bool may_take_over(const struct router_mirror *mirror, const struct claim *claim)
{
	const struct scope_number *scope;

	if (!claim->takeover)
		return false;
	scope = mirror_scope(mirror, mirror->scopes[claim->contest->key.scope].name);
	return scope && scope->takeover;
}

/*
 * Another target was granted the client and may publish at any moment: it is told not to, and only
 * when it has answered, or its session has ended, is it known who holds the client. Else two
 * targets would believe that they hold it everywhere.
 */
static bool waits_for_former(struct router_mirror *mirror, struct claim *claim)
{
	struct contest *contest = claim->contest;
	struct claim *former = NULL;

	if (contest->tentative != NO_NUMBER && contest->tentative != claim->target)
		former = mirror_contest_claim(contest, contest->tentative);
	if (!former || !former->granted || !mirror->peers[former->target]->open)
		return false;
	if (!former->revoked)
		refuse(mirror, former, REFUSE_HELD);
	former->revoked = true;
	claim->waits = true;
	return true;
}

/* The entry is in place before the target hears of it: from publication on it must be. */
static void grant(struct router_mirror *mirror, struct claim *claim)
{
	struct contest *contest = claim->contest;
	struct term term = {mirror->clock + 1, mirror->settings.node_id};

	contest->tentative = claim->target;
	contest->tentative_id = claim->id;
	contest->tentative_term = term;
	mirror_contest_elect(mirror, contest);
	if (!contest->placed) {
		mirror_contest_conclude(mirror, contest);
		mirror_contest_elect(mirror, contest);
		refuse(mirror, claim, REFUSE_FULL);
		return;
	}
	mirror->clock++;
	mirror->counts.granted++;
	claim->granted = true;
	mirror_claim_reply(mirror, claim, MESSAGE_GRANT, &term, 0);
}

static void answer(struct router_mirror *mirror, struct claim *claim)
{
	uint16_t holder = claim->contest->winner;

	mirror_claim_pend(mirror, claim, false);
	if (holder != NO_NUMBER && holder != claim->target &&
	    !mirror_target_is_out(mirror, holder) && !may_take_over(mirror, claim)) {
		claim->answered = true;
		refuse(mirror, claim, REFUSE_HELD);
		return;
	}
	if (waits_for_former(mirror, claim))
		return;
	claim->answered = true;
	grant(mirror, claim);
}

void mirror_claims_answer(struct router_mirror *mirror)
{
	if (mirror->role != ROLE_ACTIVE || !router_mirror_affinities_in_sync(mirror))
		return;
	while (!TAILQ_EMPTY(&mirror->pending))
		answer(mirror, TAILQ_FIRST(&mirror->pending));
}
