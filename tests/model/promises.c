/* SPDX-License-Identifier: BSD-2-Clause */
/* What must never happen, whatever else does. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

#define BLIND_MS   5000 /* after a restart, until the targets are back */
#define SILENCE_MS 2500
#define REPORT_MS  250	 /* as SIGHTING_NS: so long a report may be on its way */
#define HEARD_MS   3000	 /* what has changed at a target is known at every router that hears it */
#define LINGER_MS  55000 /* as sync/mirror_internal.h, less what a report may be late */

void violated(const char *promise, const char *format, ...)
{
	int length;
	va_list list;

	if (world.violation[0])
		return;
	length = snprintf(world.violation, sizeof(world.violation), "%s: ", promise);
	va_start(list, format);
	vsnprintf(world.violation + length, sizeof(world.violation) - (size_t)length, format, list);
	va_end(list);
	note("VIOLATION %s", world.violation);
}

/* XDP's view of a target; TARGET_DEAD if it is not known at all. */
static uint16_t flags_of(const struct node_router *router, unsigned int target)
{
	for (uint16_t i = 0; i < NUMBERS; i++) {
		if (router_target_at(router, i) == target)
			return router->plane.targets[i].flags;
	}
	return TARGET_DEAD;
}

/* A packet of a living connection went elsewhere, in a way that is known and accepted: its client
 * gets a RST. */
static void residue(struct conn *conn, unsigned long *counter)
{
	(*counter)++;
	note("c%u:%u #%u is lost, known residue", conn->client, conn->port, conn->id);
	conn->client_open = false;
	if (world.open[conn->client][conn->port] == conn)
		world.open[conn->client][conn->port] = NULL;
}

/* Has it no agent, or had it none a short time ago? */
static bool is_blind(const struct node_router *router)
{
	return !router->mirror || now_ms() < router->blind_ms + BLIND_MS;
}

/* What lingers here is older than the connection, whose target has not been heard of for longer
 * than hold_time. */
static unsigned long *residue_of_linger(const struct node_router *router)
{
	const struct plane *plane = &router->plane;

	if (!forward_lingered() || plane->sync_state.in_sync ||
	    world.now_us * 1000 < plane->role.since_ns + HOLD_NS)
		return NULL;
	return &world.statistics->stale_entry;
}

/* When was the end of the last remnant of this 4-tuple told, if it was at this target? 0: there was
 * none. */
static uint64_t remnant_told_ms(const struct conn *conn, unsigned int target)
{
	uint64_t ended_ms = world.remnant_ms[conn->client][conn->port];
	uint64_t slow_ms = world.targets[target].slow_until_ms;

	if (!ended_ms)
		return 0;
	return (slow_ms > ended_ms ? slow_ms : ended_ms) + REPORT_MS;
}

/* Is it cut off, or was it a short time ago? */
static bool is_cut(const struct node_router *router, unsigned int target)
{
	return world.cut[target][router->n] || now_ms() < world.healed_ms + SILENCE_MS;
}

/* The connection began where this router does not look: what it knows may be of an older one. */
static unsigned long *residue_of_older(const struct node_router *router, const struct conn *conn,
				       unsigned int target)
{
	const struct plane *plane = &router->plane;

	if (conn->unnoted && now_ms() < conn->opened_ms + REPORT_MS)
		return &world.statistics->stale_entry;
	/* A half-open flow of the time of two active routers has no age, nor has a note of a target
	 * that is away; and one that is old is still the best guess. */
	if (world.joined_ms && (forward_noted() || forward_guessed_noted()))
		return &world.statistics->ecmp_stale;
	/* Nobody has told this router that it has the address, so how often the address has come
	 * and gone since it noted this; or a SYN of the connection's came late, when it was not
	 * known here yet: SYNs are held for 200 ms at most. */
	if (forward_noted() && (plane->role.role != ROLE_ACTIVE || conn->strayed & 1u << router->n))
		return &world.statistics->early;
	/* A client has lost its memory, and what this router knows is the remnant
	 * (sync/mirror_connections.c). */
	if (target < TARGETS && (world.targets[target].sockets[conn->client][conn->port] ||
				 now_ms() < remnant_told_ms(conn, target)))
		return &world.statistics->remnant;
	/* A 4-tuple was used again elsewhere, and its old target, which is not in sync here, or
	 * whose silence has not been noticed yet, has not told of the end. What is known is never
	 * held: it would stall every connection of a target whose agent restarts. */
	if (!forward_reported())
		return NULL;
	if (is_blind(router))
		return &world.statistics->blind_guess;
	if (plane->role.role != ROLE_ACTIVE || plane->sync_state.epoch != plane->role.epoch ||
	    (!forward_lingered() && !(flags_of(router, target) & TARGET_IN_SYNC)) ||
	    (target < TARGETS &&
	     (now_ms() < world.targets[target].booted_ms + SILENCE_MS || is_cut(router, target))))
		return &world.statistics->stale_entry;
	return residue_of_linger(router);
}

/* May this target have reported its remnant of the 4-tuple after the connection was reported? */
static bool is_reported_last(const struct conn *conn, unsigned int target)
{
	const struct conn *remnant =
		target < TARGETS ? world.targets[target].sockets[conn->client][conn->port] : NULL;

	return remnant && (world.targets[target].slow_until_ms >= conn->opened_ms ||
			   conn->opened_ms < remnant->opened_ms + REPORT_MS);
}

/* What no rule of ours can know, or what the design accepts: which one is it? NULL: none. */
static unsigned long *known_residue(const struct node_router *router, const struct conn *conn,
				    unsigned int target)
{
	const struct plane *plane = &router->plane;
	/* Its handshake was not noted here, or before the last start or change of role. */
	bool elsewhere = conn->router != router->n || conn->boot != router->boots ||
			 conn->opened_ms < router->started_ms || conn->unnoted ||
			 conn->opened_ms * 1000000 < plane->role.since_ns;
	bool slow = now_ms() < world.targets[conn->target].slow_until_ms + REPORT_MS;
	bool guessed = forward_guessed(), lingered = forward_lingered();
	/* Nobody has told the data plane that its agent is dead. It takes the tables for complete,
	 * no longer believes what it has noted itself, and guesses. */
	if ((guessed || lingered || forward_reported()) && is_blind(router))
		return &world.statistics->blind_guess;
	/* What lingers is of an older connection of this 4-tuple at the same target; so the forged
	 * SYN seems to be the next one, and what was noted here to have ended. */
	if (conn->forged & 1u << router->n && forward_noted())
		return &world.statistics->early;
	/* Its target was given up: it is not to be had here. */
	if (flags_of(router, conn->target) & TARGET_DEAD)
		return &world.statistics->given_up;
	/* hold_time is over, and more than one target is missing. */
	if (forward_guessed_missing() && !(flags_of(router, conn->target) & TARGET_IN_SYNC) &&
	    world.now_us * 1000 >= plane->role.since_ns + HOLD_NS &&
	    world.now_us * 1000 >= plane->sync_state.missing_since_ns + HOLD_NS)
		return &world.statistics->hold_over;
	/* The connection is new, and its target's silence has not been noticed yet. */
	if ((guessed || lingered) && is_cut(router, conn->target) &&
	    now_ms() < conn->opened_ms + SILENCE_MS)
		return &world.statistics->hold_over;
	/* A client has lost its memory, and the remnant was reported last, by a target that is
	 * slow; or because it was hardly older. */
	if (is_reported_last(conn, target))
		return &world.statistics->remnant;
	/* Two active routers: a handshake, or a 4-tuple that was used again, went through both of
	 * them and back again before the note here is old or the report of it has arrived. An old
	 * note is the best guess while the target is missing that could say better. */
	if (two_active() && ((elsewhere && (forward_noted() || forward_guessed_noted())) ||
			     now_ms() < conn->opened_ms + REPORT_MS || slow))
		return &world.statistics->ecmp_stale;
	/* A 4-tuple that is used again follows its old note, or what lingers, which is too old
	 * before the report of a slow target is here. */
	if ((guessed || lingered) && slow &&
	    (conn->router == router->n || conn->opened_ms * 1000000 >= plane->role.since_ns))
		return &world.statistics->hold_over;
	return elsewhere ? residue_of_older(router, conn, target) : residue_of_linger(router);
}

/* Has another target its 4-tuple too? A client has lost its memory, and its connection there is a
 * remnant. */
bool has_remnant(const struct conn *conn)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (i != conn->target && world.targets[i].sockets[conn->client][conn->port])
			return true;
	}
	return false;
}

/* Has its target reported it here? */
static bool is_known(const struct node_router *router, const struct conn *conn)
{
	return conn->known[router->n] == router->boots &&
	       !(flags_of(router, conn->target) & TARGET_DEAD) && !has_remnant(conn) &&
	       now_ms() >= world.remnant_ms[conn->client][conn->port] + REPORT_MS;
}

/* Promise 6: what is known needs nobody. */
static void dropped(const struct node_router *router, const struct conn *conn)
{
	if (conn->server == SERVER_OPEN && is_known(router, conn))
		violated("P6",
			 "packet of open connection c%u:%u #%u is dropped by r%u, which knows it",
			 conn->client, conn->port, conn->id, router->n);
}

/* A server that has closed first is in FIN_WAIT2, and its client is still sending. */
static void packet_of_closing(const struct node_router *router, struct conn *conn,
			      unsigned int target)
{
	unsigned long *counter;

	if (target == conn->target || now_ms() > conn->closed_ms + LINGER_MS ||
	    !is_known(router, conn))
		return;
	/* A remnant's end has come after its own, or may have: it is the remnant that lingers. */
	if (target < TARGETS && remnant_told_ms(conn, target) >= conn->opened_ms) {
		residue(conn, &world.statistics->remnant);
		return;
	}
	counter = known_residue(router, conn, target);
	if (counter) {
		residue(conn, counter);
		return;
	}
	violated("P1", "packet of closing connection c%u:%u #%u at t%u goes through r%u to t%u",
		 conn->client, conn->port, conn->id, conn->target, router->n, target);
}

/* Promise 1. */
static void packet_of_connection(const struct node_router *router, struct conn *conn,
				 unsigned int target)
{
	unsigned long *counter;

	if (target == conn->target)
		return;
	counter = known_residue(router, conn, target);
	if (counter) {
		residue(conn, counter);
		return;
	}
	if (target < TARGETS && !reaches(router, target)) /* nobody answers: it is sent again */
		return;
	violated("P1", "packet of open connection c%u:%u #%u at t%u goes through r%u to t%u",
		 conn->client, conn->port, conn->id, conn->target, router->n, target);
}

/* Is it by design that this router does not know of it? An active one holds SYNs for 200 ms at most
 * for affinities that do not come; to a standby a publication may be on its way; and a target is
 * not waited for for ever whose agent is dead, if it has not told its affinities in time. */
static bool may_not_know(const struct node_router *router, const struct settled *settled)
{
	const struct sync_state *sync = &router->plane.sync_state;
	const struct router_role *role = &router->plane.role;
	const struct node_target *target = &world.targets[settled->target];

	if (is_blind(router))
		return true;
	if (role->role != ROLE_ACTIVE)
		return !router->wires[settled->target] || router->unpublished ||
		       now_ms() < settled->since_ms + REPORT_MS ||
		       now_ms() < target->slow_until_ms + REPORT_MS ||
		       (is_cut(router, settled->target) &&
			now_ms() < settled->since_ms + SILENCE_MS);
	if (!(flags_of(router, settled->target) & TARGET_IN_SYNC))
		return true;
	return (sync->epoch != role->epoch || !sync->affinities_in_sync) &&
	       world.now_us * 1000 >= role->since_ns + SYN_HOLD_NS;
}

/* Promise 2. */
static void new_connection(const struct node_router *router, const struct conn *conn,
			   unsigned int target)
{
	const struct settled *settled = &world.settled[conn->client];
	const struct held *held = &world.targets[settled->target].held[conn->client];
	const struct held *other = &world.targets[target % TARGETS].held[conn->client];

	if (!settled->valid || !held->present || held->id != settled->id ||
	    target == settled->target)
		return;
	if (!(flags_of(router, settled->target) & TARGET_USABLE))
		return;
	/* From its grant on it is the other's, who has asked to take over; until its end is heard
	 * of, if it has ended before it was published. */
	if (target < TARGETS && other->legit && other->present)
		return;
	if (target < TARGETS && router->taken_over[conn->client] == target &&
	    router->plane.affinities[conn->client].value.granted)
		return;
	/* What has been told once holds. */
	if (settled->doubted ||
	    (!(held->seen & 1u << router->n) && may_not_know(router, settled))) {
		world.statistics->late_affinity++;
		return;
	}
	violated("P2",
		 "new connection c%u:%u #%u goes through r%u to t%u; t%u holds #%llu everywhere",
		 conn->client, conn->port, conn->id, router->n, target, settled->target,
		 (unsigned long long)settled->id);
}

/* Does this router hear this target, and has it long enough? */
static bool has_heard(const struct node_router *router, const struct node_target *target)
{
	return router->mirror && now_ms() > router->started_ms + SETTLE_MS + HEARD_MS &&
	       now_ms() > world.healed_ms + HEARD_MS && reaches(router, target->n) &&
	       flags_of(router, target->n) & TARGET_IN_SYNC &&
	       router->plane.sync_state.epoch == router->plane.role.epoch &&
	       now_ms() > target->changed_ms + HEARD_MS &&
	       now_ms() > target->slow_until_ms + HEARD_MS;
}

static bool has_instance(const struct node_target *target)
{
	bool ready = false;

	for (unsigned int i = 0; i < INSTANCES; i++)
		ready |= target->ready[i];
	return ready;
}

/* Promise 3: nobody is refused while another instance could serve. */
static void refused(const struct node_router *router, const struct conn *conn)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct node_target *target = &world.targets[i];

		if (has_heard(router, target) && has_instance(target) && !target->draining)
			violated("P3", "r%u refuses c%u:%u #%u, and t%u could serve it", router->n,
				 conn->client, conn->port, conn->id, i);
	}
}

/* A new client comes to where somebody is ready for it and nobody has drained. */
static void distributed(const struct node_router *router, const struct conn *conn, unsigned int to)
{
	const struct node_target *target = &world.targets[to];

	if (has_heard(router, target) && (target->draining || !has_instance(target)))
		violated("P3", "r%u sends c%u:%u #%u to t%u, which %s", router->n, conn->client,
			 conn->port, conn->id, to,
			 target->draining ? "is drained" : "has nobody ready");
}

/* Promise 1: whoever sends a SYN, forged or not, the kernel that has the connection answers it. */
static void syn_of_connection(const struct node_router *router, const struct conn *syn,
			      unsigned int target)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct conn *conn = world.targets[i].sockets[syn->client][syn->port];

		if (!conn || !conn->client_open || i == target || !is_known(router, conn))
			continue;
		if (!known_residue(router, conn, target))
			violated("P1",
				 "a SYN on open connection c%u:%u #%u at t%u goes through r%u to "
				 "t%u",
				 conn->client, conn->port, conn->id, i, router->n, target);
	}
}

void promise_packet(const struct node_router *router, struct conn *conn, bool syn, bool fresh,
		    int verdict)
{
	unsigned int target = verdict < 0 ? TARGETS : router_target_at(router, (uint16_t)verdict);

	if (syn && verdict != DROPPED)
		syn_of_connection(router, conn, target);
	if (!conn->client_open)
		return;
	if (verdict == DROPPED && !syn)
		dropped(router, conn);
	if (verdict == DROPPED)
		return;
	if (!syn && conn->server == SERVER_OPEN)
		packet_of_connection(router, conn, target);
	if (!syn && conn->server == SERVER_CLOSING)
		packet_of_closing(router, conn, target);
	if (!syn || !fresh)
		return;
	new_connection(router, conn, target);
	if (target == TARGETS)
		refused(router, conn);
	else if (!forward_by_affinity())
		distributed(router, conn, target);
	else if (!(flags_of(router, target) & TARGET_USABLE))
		violated("P3", "r%u sends c%u:%u #%u to t%u, which is down", router->n,
			 conn->client, conn->port, conn->id, target);
}

/* Promise 2 again: who is in force everywhere loses it to nobody who was not entitled to it. */
void promise_affinity_ended(const struct node_target *target, unsigned int client,
			    const struct held *held, const char *why, bool legit)
{
	struct settled *settled = &world.settled[client];

	if (!settled->valid || settled->target != target->n || settled->id != held->id)
		return;
	settled->valid = false;
	if (legit || two_active())
		return;
	if (settled->doubted) {
		world.statistics->late_affinity++;
		return;
	}
	for (unsigned int i = 0; i < TARGETS; i++)
		legit |= i != target->n && world.targets[i].held[client].legit;
	if (!legit)
		violated("P2", "t%u's affinity of c%u, in force everywhere, has ended: %s",
			 target->n, client, why);
}

/* Promise 2 once more: what is said to be in force everywhere is, unless somebody else's, under a
 * higher term, was not known where it was granted. */
void promise_published(const struct node_target *target, unsigned int client,
		       const struct term *term)
{
	if (world.settled[client].doubted)
		return;
	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct node_target *other = &world.targets[i];
		const struct pinned_grant *grant = &other->grants[client];

		if (i == target->n || !other->held[client].present ||
		    grant->id != other->held[client].id || grant->term.clock <= term->clock)
			continue;
		violated(
			"P2",
			"t%u's affinity of c%u is in force everywhere under %llu, t%u's under %llu",
			target->n, client, (unsigned long long)term->clock, i,
			(unsigned long long)grant->term.clock);
	}
}

/* Who is down keeps nobody from being granted. */
void promise_refusal(const struct node_router *router, const struct message_answer *refusal)
{
	unsigned int client = model_client_number(&refusal->client);
	const struct plane_affinity *held = &router->plane.affinities[client];
	const struct mirror_target *holder;

	if (refusal->reason != REFUSE_HELD || !held->used)
		return;
	holder = router_mirror_target(router->mirror, held->value.target);
	if (holder->state == TARGET_DOWN || holder->state == TARGET_GONE)
		violated("P3", "r%u refuses a claim to c%u for %s, which is down", router->n,
			 client, holder->name);
}

/* Could all the routers that own the address have answered what this target asks? */
static bool are_answering(const struct node_target *target)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		const struct node_router *router = &world.routers[i];
		const struct router_role *role = &router->plane.role;

		if (is_active(router) != (role->role == ROLE_ACTIVE))
			return false;
		if (!is_active(router))
			continue;
		if (!router->mirror || !router->wires[target->n] || !target->wires[i])
			return false;
		if (world.now_us * 1000 < role->since_ns + LONG_MS * 1000000ULL)
			return false;
	}
	return true;
}

void promise_answers(void)
{
	for (unsigned int i = 0; i < TARGETS * CLIENTS; i++) {
		const struct node_target *target = &world.targets[i / CLIENTS];
		const struct held *held = &target->held[i % CLIENTS];

		if (!held->present || !target->mirror || !are_answering(target))
			continue;
		if (target->grants[i % CLIENTS].id != held->id)
			violated("P2", "t%u's claim to c%u is not answered", target->n,
				 i % CLIENTS);
	}
}
