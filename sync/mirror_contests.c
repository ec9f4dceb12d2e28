/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_contests.c - who wins a client, and the affinities' entries in the CRHT
 * (docs/PROTOCOL.md, section 6).
 *
 * The winner is a pure function of what the targets have said: the highest published term, so all
 * routers agree as soon as they have heard the same. Only a grant of this router's own with a
 * higher term comes before it, because its target may publish at any moment, and from then on
 * every new connection of the client must go there.
 */
#include <errno.h>
#include <stdlib.h>

#include "mirror_internal.h"

struct contest *mirror_contest_find(struct router_mirror *mirror, const struct affinity_key *key)
{
	struct contest *contest;

	HASH_FIND(hh, mirror->contests, key, sizeof(*key), contest);
	return contest;
}

struct contest *mirror_contest_new(struct router_mirror *mirror, const struct affinity_key *key)
{
	struct contest *contest = calloc(1, sizeof(*contest));

	if (!contest)
		return NULL;
	contest->key = *key;
	contest->winner = contest->tentative = NO_NUMBER;
	HASH_ADD(hh, mirror->contests, key, sizeof(contest->key), contest);
	if (!contest->hh.tbl) {
		free(contest);
		return NULL;
	}
	return contest;
}

struct claim *mirror_contest_claim(struct contest *contest, uint16_t target)
{
	struct claim *claim = contest->claims;

	while (claim && claim->target != target)
		claim = claim->next;
	return claim;
}

static void wait_for_room(struct router_mirror *mirror, struct contest *contest, bool waiting)
{
	if (contest->waiting == waiting)
		return;
	contest->waiting = waiting;
	if (waiting) {
		TAILQ_INSERT_TAIL(&mirror->waiting, contest, in_waiting);
		mirror->counts.affinities_waiting++;
		contest->waits_for = contest->winner;
		mirror_peer_waits(mirror, mirror->peers[contest->waits_for]);
	} else {
		TAILQ_REMOVE(&mirror->waiting, contest, in_waiting);
		mirror->counts.affinities_waiting--;
		mirror_peer_placed(mirror->peers[contest->waits_for]);
	}
}

static int put(struct router_mirror *mirror, struct contest *contest)
{
	struct router_affinity value = {
		.clock = contest->clock, .target = contest->winner, .granted = contest->granted};
	int error;

	if (!contest->placed && mirror->counts.affinities >= mirror->settings.max_affinities)
		return -ENOSPC;
	error = mirror->ops.affinity(mirror->context, &contest->key, &value);
	if (!error && !contest->placed) {
		contest->placed = true;
		mirror->counts.affinities++;
	}
	return error;
}

void mirror_contests_refill(struct router_mirror *mirror, unsigned int most)
{
	struct contest *contest;

	for (; most; most--) {
		contest = TAILQ_FIRST(&mirror->waiting);
		if (!contest || put(mirror, contest))
			return;
		wait_for_room(mirror, contest, false);
	}
}

static void take_out(struct router_mirror *mirror, struct contest *contest)
{
	wait_for_room(mirror, contest, false);
	if (!contest->placed)
		return;
	mirror->ops.affinity(mirror->context, &contest->key, NULL);
	contest->placed = false;
	mirror->counts.affinities--;
}

static void install(struct router_mirror *mirror, struct contest *contest, uint16_t winner,
		    uint64_t clock, bool granted)
{
	if (contest->winner == winner && contest->clock == clock && contest->granted == granted)
		return;
	contest->winner = winner;
	contest->clock = clock;
	contest->granted = granted;
	if (winner == NO_NUMBER) {
		take_out(mirror, contest);
		mirror_contests_refill(mirror, 1);
		return;
	}
	if (!put(mirror, contest)) {
		wait_for_room(mirror, contest, false);
		return;
	}
	mirror->counts.full++;
	take_out(mirror, contest);
	wait_for_room(mirror, contest, true);
}

/*
 * Two published claims of the same term: both routers have lost their clocks, one after the other,
 * while an agent that knew them was away. The targets' node ids decide, which all routers know.
 */
static bool claim_above(const struct router_mirror *mirror, const struct claim *a,
			const struct claim *b)
{
	if (term_above(&a->term, &b->term) || term_above(&b->term, &a->term))
		return term_above(&a->term, &b->term);
	return mirror->peers[a->target]->info.node_id > mirror->peers[b->target]->info.node_id;
}

static const struct claim *best_published(const struct router_mirror *mirror,
					  const struct contest *contest)
{
	const struct claim *best = NULL;

	for (const struct claim *claim = contest->claims; claim; claim = claim->next) {
		if (term_is_zero(&claim->term))
			continue;
		if (!best || claim_above(mirror, claim, best))
			best = claim;
	}
	return best;
}

/* But not on the word of what is only remembered, from before a restart or an earlier session. */
static void tell_losers(struct router_mirror *mirror, struct contest *contest,
			const struct claim *best)
{
	if (best->session != mirror->peers[best->target]->session)
		return;
	for (struct claim *claim = contest->claims; claim; claim = claim->next) {
		const struct peer *peer = mirror->peers[claim->target];

		if (claim == best || claim->told || term_is_zero(&claim->term) || !peer->open)
			continue;
		claim->told = true;
		mirror->counts.lost++;
		mirror_claim_reply(mirror, claim, MESSAGE_LOST, &best->term, 0);
	}
}

/*
 * The grant is not worth its publication any more: its target would say that the client is its own
 * everywhere, and lose it at once. The claim is answered anew, as what it is now, one against a
 * published one. So it is when both were granted by routers that did not hear the other's target.
 */
static void answer_overtaken(struct router_mirror *mirror, struct contest *contest,
			     const struct claim *best)
{
	struct claim *claim = contest->tentative == NO_NUMBER
				      ? NULL
				      : mirror_contest_claim(contest, contest->tentative);

	if (!claim || !claim->granted || claim->revoked ||
	    best->session != mirror->peers[best->target]->session ||
	    !term_above(&best->term, &contest->tentative_term))
		return;
	mirror_claim_begin(claim);
	mirror_claim_pend(mirror, claim, true);
	mirror_contest_conclude(mirror, contest);
}

/* What was granted here and not published yet: it comes first, unless its target is down; then
 * whoever holds the client is better than nobody. */
static bool comes_first(const struct router_mirror *mirror, const struct contest *contest,
			const struct claim *best)
{
	if (contest->tentative == NO_NUMBER)
		return false;
	return !best || (term_above(&contest->tentative_term, &best->term) &&
			 !mirror_target_is_out(mirror, contest->tentative));
}

void mirror_contest_elect(struct router_mirror *mirror, struct contest *contest)
{
	const struct claim *best = best_published(mirror, contest);
	uint16_t winner = best ? best->target : NO_NUMBER;
	uint64_t clock = best ? best->term.clock : 0;
	bool granted;

	if (best) {
		tell_losers(mirror, contest, best);
		answer_overtaken(mirror, contest, best);
	}
	granted = comes_first(mirror, contest, best);
	if (granted) {
		winner = contest->tentative;
		clock = contest->tentative_term.clock;
	}
	install(mirror, contest, winner, clock, granted);
	if (contest->claims)
		return;
	HASH_DEL(mirror->contests, contest);
	free(contest);
}
