/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_claims.c - what the targets say of affinities: their claims, published or waiting to be
 * granted. mirror_contests.c says who wins, mirror_answers.c what is answered.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "mirror_internal.h"

#define RETRIES_A_TICK 256 /* of affinities that wait for room */

static uint64_t claim_hash(const struct router_mirror *mirror, const struct peer *peer,
			   const struct claim *claim)
{
	const struct affinity_key *key = &claim->contest->key;
	struct message message = {.type = MESSAGE_AFFINITY};
	uint8_t frame[256];
	ssize_t length;

	memcpy(message.affinity.scope, mirror->scopes[key->scope].name, NAME_SIZE);
	message.affinity.client = key->client;
	message.affinity.id = claim->id;
	message.affinity.term = claim->term;
	message.affinity.takeover = claim->takeover;
	length = message_encode(&message, frame, sizeof(frame));
	if (length < WIRE_HEADER)
		return 0;
	return siphash(peer->digest_key, frame + WIRE_HEADER, (size_t)length - WIRE_HEADER);
}

static struct claim *claim_new(struct contest *contest, struct peer *peer)
{
	struct claim *claim = calloc(1, sizeof(*claim));

	if (!claim)
		return NULL;
	claim->contest = contest;
	claim->target = peer->number;
	claim->mark = peer->mark - 1;
	claim->session = peer->session - 1;
	claim->next = contest->claims;
	contest->claims = claim;
	LIST_INSERT_HEAD(&peer->claims, claim, of_target);
	peer->info.affinities++;
	return claim;
}

static void sum(const struct router_mirror *mirror, struct peer *peer, const struct claim *claim,
		bool add)
{
	uint64_t hash;

	if (claim->mark != peer->mark)
		return;
	hash = claim_hash(mirror, peer, claim);
	peer->sums.affinities += add ? 1 : -1ULL;
	peer->sums.affinities_sum += add ? hash : -hash;
}

/* Takes a claim out of its contest, which is to be decided anew. */
static void claim_free(struct router_mirror *mirror, struct claim *claim)
{
	struct peer *peer = mirror->peers[claim->target];
	struct contest *contest = claim->contest;
	struct claim **at = &contest->claims;

	sum(mirror, peer, claim, false);
	mirror_claim_pend(mirror, claim, false);
	LIST_REMOVE(claim, of_target);
	peer->info.affinities--;
	while (*at != claim)
		at = &(*at)->next;
	*at = claim->next;
	if (contest->tentative == claim->target)
		mirror_contest_conclude(mirror, contest);
	free(claim);
}

static void withdraw(struct router_mirror *mirror, struct claim *claim)
{
	struct contest *contest = claim->contest;

	claim_free(mirror, claim);
	mirror_contest_elect(mirror, contest);
}

static void update(struct router_mirror *mirror, struct peer *peer, struct claim *claim,
		   const struct message_affinity *message)
{
	struct contest *contest = claim->contest;
	bool published = !term_is_zero(&message->term);

	sum(mirror, peer, claim, false);
	/* What is published asks for nothing, though it may have waited for an answer here. */
	if (claim->id != message->id || published)
		mirror_claim_begin(claim);
	claim->told = false;
	claim->id = message->id;
	claim->term = message->term;
	claim->takeover = message->takeover;
	claim->session = peer->session;
	claim->mark = peer->mark;
	sum(mirror, peer, claim, true);
	if (contest->tentative == peer->number &&
	    (published || contest->tentative_id != message->id))
		mirror_contest_conclude(mirror, contest);
	mirror_claim_pend(mirror, claim, !published && !claim->answered && !claim->waits);
}

int mirror_claims_report(struct router_mirror *mirror, struct peer *peer,
			 const struct message_affinity *message)
{
	const struct scope_number *scope = mirror_scope(mirror, message->scope);
	struct affinity_key key = {.client = message->client};
	struct contest *contest;
	struct claim *claim;

	if (!scope) {
		mirror_refuse_unlisted(mirror, peer, message);
		return 0;
	}
	key.scope = scope->number;
	contest = mirror_contest_find(mirror, &key);
	if (!contest)
		contest = mirror_contest_new(mirror, &key);
	if (!contest)
		return -ENOMEM;
	claim = mirror_contest_claim(contest, peer->number);
	if (!claim)
		claim = claim_new(contest, peer);
	if (!claim) {
		mirror_contest_elect(mirror, contest); /* it goes, if it is new */
		return -ENOMEM;
	}
	update(mirror, peer, claim, message);
	mirror_contest_elect(mirror, contest);
	return 0;
}

void mirror_claims_end(struct router_mirror *mirror, struct peer *peer,
		       const struct message_affinity_end *message)
{
	const struct scope_number *scope = mirror_scope(mirror, message->scope);
	struct affinity_key key = {.client = message->client};
	struct contest *contest;
	struct claim *claim;

	if (!scope) {
		mirror->counts.unlisted++;
		return;
	}
	key.scope = scope->number;
	contest = mirror_contest_find(mirror, &key);
	claim = contest ? mirror_contest_claim(contest, peer->number) : NULL;
	if (claim)
		withdraw(mirror, claim);
}

/*
 * The CRHT remembers the winner and its clock, not the request. What was granted and not published
 * may be in force everywhere by now: it goes on until its target says what it is.
 */
int mirror_claims_restore(struct router_mirror *mirror, const struct affinity_key *key,
			  const struct router_affinity *value)
{
	struct peer *peer = mirror_peer_get(mirror, value->target);
	struct contest *contest;
	struct claim *claim;

	if (!peer || !peer->info.in_roster || key->scope >= MAX_SERVICES ||
	    !mirror->scopes[key->scope].name[0])
		return mirror->ops.affinity(mirror->context, key, NULL);
	if (mirror_contest_find(mirror, key))
		return -EEXIST;
	contest = mirror_contest_new(mirror, key);
	if (!contest)
		return -ENOMEM;
	claim = claim_new(contest, peer);
	if (!claim) {
		mirror_contest_elect(mirror, contest);
		return -ENOMEM;
	}
	if (value->granted) {
		contest->tentative = peer->number;
		contest->tentative_term = (struct term){value->clock, mirror->settings.node_id};
	} else {
		claim->term.clock = value->clock;
	}
	contest->winner = peer->number;
	contest->clock = value->clock;
	contest->granted = value->granted;
	contest->placed = true;
	mirror->counts.affinities++;
	if (value->clock > mirror->clock)
		mirror->clock = value->clock;
	return 0;
}

void mirror_claims_sweep(struct router_mirror *mirror, struct peer *peer)
{
	struct claim *claim, *next;

	for (claim = LIST_FIRST(&peer->claims); claim; claim = next) {
		next = LIST_NEXT(claim, of_target);
		if (claim->mark != peer->mark)
			withdraw(mirror, claim);
	}
}

void mirror_claims_purge(struct router_mirror *mirror, struct peer *peer)
{
	while (!LIST_EMPTY(&peer->claims))
		withdraw(mirror, LIST_FIRST(&peer->claims));
}

/* A session has begun or ended: what was said in the former one waits to be said again. A grant
 * that was not published keeps its entry until then, for it may have been published since; but it
 * is void, so nobody waits for its publication. */
void mirror_claims_new_session(struct router_mirror *mirror, struct peer *peer)
{
	struct claim *claim;

	LIST_FOREACH (claim, &peer->claims, of_target) {
		mirror_claim_begin(claim);
		claim->told = false;
		mirror_claim_pend(mirror, claim, false);
		if (claim->contest->tentative == peer->number)
			mirror_contest_wake(mirror, claim->contest);
	}
}

/* The target is down, or is not any more. */
void mirror_claims_state_changed(struct router_mirror *mirror, struct peer *peer)
{
	struct claim *claim;

	LIST_FOREACH (claim, &peer->claims, of_target) {
		if (claim->contest->tentative == peer->number)
			mirror_contest_elect(mirror, claim->contest);
	}
}

void mirror_claims_drop_scopes(struct router_mirror *mirror, const bool gone[MAX_SERVICES])
{
	struct contest *contest, *next;

	HASH_ITER (hh, mirror->contests, contest, next) {
		if (!gone[contest->key.scope])
			continue;
		while (contest->claims)
			claim_free(mirror, contest->claims);
		mirror_contest_elect(mirror, contest);
	}
}

void mirror_claims_tick(struct router_mirror *mirror)
{
	mirror_contests_refill(mirror, RETRIES_A_TICK);
	mirror_claims_answer(mirror);
}

void mirror_claims_free(struct router_mirror *mirror)
{
	struct contest *contest, *next;

	HASH_ITER (hh, mirror->contests, contest, next) {
		struct claim *claim = contest->claims;

		while (claim) {
			struct claim *rest = claim->next;

			free(claim);
			claim = rest;
		}
		HASH_DEL(mirror->contests, contest);
		free(contest);
	}
}
