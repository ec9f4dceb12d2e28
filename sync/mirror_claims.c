/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_claims.c - who holds a client: the targets' claims, the answers to them, and the
 * affinities in the CRHT (docs/PROTOCOL.md, section 6).
 *
 * The winner is a pure function of what the targets have said: the highest published term, so all
 * routers agree as soon as they have heard the same. Only a grant of this router's own with a
 * higher term comes before it, because its target may publish at any moment, and from then on
 * every new connection of the client must go there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "mirror_internal.h"

#define RETRIES_A_TICK 256 /* of affinities that wait for room */

static bool term_is_zero(const struct term *term)
{
	return !term->clock && !term->router;
}

static bool term_above(const struct term *a, const struct term *b)
{
	return a->clock != b->clock ? a->clock > b->clock : a->router > b->router;
}

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

static void reply(struct router_mirror *mirror, const struct claim *claim, uint8_t type,
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
	reply(mirror, claim, MESSAGE_REFUSE, NULL, reason);
}

static struct contest *contest_find(struct router_mirror *mirror, const struct affinity_key *key)
{
	struct contest *contest;

	HASH_FIND(hh, mirror->contests, key, sizeof(*key), contest);
	return contest;
}

static struct contest *contest_new(struct router_mirror *mirror, const struct affinity_key *key)
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

static struct claim *claim_find(struct contest *contest, uint16_t target)
{
	struct claim *claim = contest->claims;

	while (claim && claim->target != target)
		claim = claim->next;
	return claim;
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

static void pend(struct router_mirror *mirror, struct claim *claim, bool pending)
{
	if (claim->pending == pending)
		return;
	claim->pending = pending;
	if (pending)
		TAILQ_INSERT_TAIL(&mirror->pending, claim, in_pending);
	else
		TAILQ_REMOVE(&mirror->pending, claim, in_pending);
}

static void wake_waiting(struct router_mirror *mirror, struct contest *contest)
{
	for (struct claim *claim = contest->claims; claim; claim = claim->next) {
		if (!claim->waits)
			continue;
		claim->waits = false;
		pend(mirror, claim, true);
	}
}

/* Said in another session, or of another request: no answer counts any more. */
static void begin_anew(struct claim *claim)
{
	claim->waits = claim->answered = claim->granted = claim->revoked = false;
}

/* What was granted here is published, or is not to be published any more: who waits for that is
 * answered. */
static void conclude(struct router_mirror *mirror, struct contest *contest)
{
	contest->tentative = NO_NUMBER;
	wake_waiting(mirror, contest);
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
	struct router_affinity value = {.clock = contest->clock, .target = contest->winner};
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

static void refill(struct router_mirror *mirror, unsigned int most)
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
		    uint64_t clock)
{
	if (contest->winner == winner && contest->clock == clock)
		return;
	contest->winner = winner;
	contest->clock = clock;
	if (winner == NO_NUMBER) {
		take_out(mirror, contest);
		refill(mirror, 1);
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
		reply(mirror, claim, MESSAGE_LOST, &best->term, 0);
	}
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

/* Puts the winner in place; a contest that nobody speaks of any more goes. */
static void elect(struct router_mirror *mirror, struct contest *contest)
{
	const struct claim *best = best_published(mirror, contest);
	uint16_t winner = best ? best->target : NO_NUMBER;
	uint64_t clock = best ? best->term.clock : 0;

	if (best)
		tell_losers(mirror, contest, best);
	if (comes_first(mirror, contest, best)) {
		winner = contest->tentative;
		clock = 0;
	}
	install(mirror, contest, winner, clock);
	if (contest->claims)
		return;
	HASH_DEL(mirror->contests, contest);
	free(contest);
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
	pend(mirror, claim, false);
	LIST_REMOVE(claim, of_target);
	peer->info.affinities--;
	while (*at != claim)
		at = &(*at)->next;
	*at = claim->next;
	if (contest->tentative == claim->target)
		conclude(mirror, contest);
	free(claim);
}

static void withdraw(struct router_mirror *mirror, struct claim *claim)
{
	struct contest *contest = claim->contest;

	claim_free(mirror, claim);
	elect(mirror, contest);
}

/* Only who may answer says so; a standby ignores what it does not know. */
static void refuse_unlisted(struct router_mirror *mirror, const struct peer *peer,
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

static void update(struct router_mirror *mirror, struct peer *peer, struct claim *claim,
		   const struct message_affinity *message)
{
	struct contest *contest = claim->contest;
	bool published = !term_is_zero(&message->term);

	sum(mirror, peer, claim, false);
	if (claim->session != peer->session || claim->id != message->id)
		begin_anew(claim);
	claim->told = false;
	claim->id = message->id;
	claim->term = message->term;
	claim->takeover = message->takeover;
	claim->session = peer->session;
	claim->mark = peer->mark;
	sum(mirror, peer, claim, true);
	if (contest->tentative == peer->number &&
	    (published || contest->tentative_id != message->id))
		conclude(mirror, contest);
	pend(mirror, claim, !published && !claim->answered && !claim->waits);
}

int mirror_claims_report(struct router_mirror *mirror, struct peer *peer,
			 const struct message_affinity *message)
{
	const struct scope_number *scope = mirror_scope(mirror, message->scope);
	struct affinity_key key = {.client = message->client};
	struct contest *contest;
	struct claim *claim;

	if (!scope) {
		refuse_unlisted(mirror, peer, message);
		return 0;
	}
	key.scope = scope->number;
	contest = contest_find(mirror, &key);
	if (!contest)
		contest = contest_new(mirror, &key);
	if (!contest)
		return -ENOMEM;
	claim = claim_find(contest, peer->number);
	if (!claim)
		claim = claim_new(contest, peer);
	if (!claim) {
		elect(mirror, contest); /* it goes, if it is new */
		return -ENOMEM;
	}
	update(mirror, peer, claim, message);
	elect(mirror, contest);
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
	contest = contest_find(mirror, &key);
	claim = contest ? claim_find(contest, peer->number) : NULL;
	if (claim)
		withdraw(mirror, claim);
}

/*
 * The CRHT remembers the winner and its clock, not the request. What was granted and not published
 * (clock 0) may be in force everywhere by now: it goes on until its target says what it is.
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
	if (contest_find(mirror, key))
		return -EEXIST;
	contest = contest_new(mirror, key);
	if (!contest)
		return -ENOMEM;
	claim = claim_new(contest, peer);
	if (!claim) {
		elect(mirror, contest);
		return -ENOMEM;
	}
	claim->term.clock = value->clock;
	if (!value->clock) {
		contest->tentative = peer->number;
		contest->tentative_term = (struct term){UINT64_MAX, UINT64_MAX};
	}
	contest->winner = peer->number;
	contest->clock = value->clock;
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
		begin_anew(claim);
		claim->told = false;
		pend(mirror, claim, false);
		if (claim->contest->tentative == peer->number)
			wake_waiting(mirror, claim->contest);
	}
}

/* The target is down, or is not any more. */
void mirror_claims_state_changed(struct router_mirror *mirror, struct peer *peer)
{
	struct claim *claim;

	LIST_FOREACH (claim, &peer->claims, of_target) {
		if (claim->contest->tentative == peer->number)
			elect(mirror, claim->contest);
	}
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
			pend(mirror, claim, true);
		}
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
		elect(mirror, contest);
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
		former = claim_find(contest, contest->tentative);
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
	elect(mirror, contest);
	if (!contest->placed) {
		conclude(mirror, contest);
		elect(mirror, contest);
		refuse(mirror, claim, REFUSE_FULL);
		return;
	}
	mirror->clock++;
	mirror->counts.granted++;
	claim->granted = true;
	reply(mirror, claim, MESSAGE_GRANT, &term, 0);
}

static void answer(struct router_mirror *mirror, struct claim *claim)
{
	uint16_t holder = claim->contest->winner;

	pend(mirror, claim, false);
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

void mirror_claims_tick(struct router_mirror *mirror)
{
	refill(mirror, RETRIES_A_TICK);
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
