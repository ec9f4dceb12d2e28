/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * router_mirror.h - what a router knows: replicas of its targets' tables, the roster, the claims;
 * and every rule for changing the CRHT (docs/PROTOCOL.md). Pure: no I/O, no clock of its own, no
 * daemon; effects go through `ops`. Times are milliseconds of CLOCK_MONOTONIC, passed in by the
 * caller.
 *
 * A target is known by its number, which is bound to its name (router/targets) and stable.
 */
#ifndef LIMPET_ROUTER_MIRROR_H
#define LIMPET_ROUTER_MIRROR_H

#include "wire.h"

struct router_mirror;

/* up: session open and in sync; syncing: session open; unattended: its agent has said it stops;
 * down: session lost without a word; dead: down for longer than dead_time. `draining` of an up
 * target is a member of its own. */
enum target_state { TARGET_SYNCING, TARGET_UP, TARGET_UNATTENDED, TARGET_DOWN, TARGET_GONE };

struct router_mirror_ops {
	/* The pinned CRHT; value NULL: delete. 0 or -errno (-ENOSPC: full; the mirror counts it and
	 * goes on). */
	int (*connection)(void *context, const struct connection_key *key,
			  const struct router_connection *value);
	int (*affinity)(void *context, const struct affinity_key *key,
			const struct router_affinity *value);
	/*
	 * Two targets hold the same connection: which of them has this router itself seen the
	 * handshake go to (a FLOW_STATE_NOTED entry of router/flows, not from before its present
	 * role)? Its number, or -ENOENT. Asked then only. NULL: never.
	 */
	int (*noted)(void *context, const struct connection_key *key);
	/* Queue a message to a target's present session. */
	void (*send)(void *context, uint16_t target, const struct message *message);
	/* State, sync, weight, readiness or drain of a target has changed: flags and rings are to
	 * be computed anew. */
	void (*target_changed)(void *context, uint16_t target);
	/* End the target's session with this reason (GOODBYE). Nothing that it still sends is
	 * believed; router_mirror_session_lost may be called for it, then or later, or not at all
	 * when a newer session follows. */
	void (*end_session)(void *context, uint16_t target, enum goodbye_reason reason,
			    const char *text);
	/* The roster has changed: write it to disk. */
	void (*roster_changed)(void *context);
};

struct router_mirror_settings {
	uint64_t node_id;	/* of this router: the second half of its terms */
	uint64_t dead_after_ms; /* router.dead_time */
	uint32_t max_connections, max_affinities;
	bool sync_on_failure; /* standby_sync: ask for the table at activation only */
};

/* What the mirror knows of one target. Valid until the next call. */
struct mirror_target {
	char name[NAME_SIZE]; /* empty: no such target */
	uint64_t node_id;
	struct address address;
	enum target_state state;
	bool in_roster, affinities_in_sync, draining;
	bool crowded; /* as it says: it has connections that are not in its table */
	bool in_sync; /* its whole table is here, and in the CRHT, and has all its connections */
	uint32_t weight;
	uint32_t instances;		  /* ready ones, as it says */
	uint64_t connections, affinities; /* of its replica */
	uint64_t waiting;		  /* of both: there was no room for them in the CRHT */
	uint64_t reported_connections, reported_affinities; /* its last digest's counts */
	bool digest_equal;
	uint64_t last_heard_ms;
	uint64_t probe_small, probe_full; /* echoed by its heartbeat */
};

struct router_mirror *router_mirror_new(const struct router_mirror_ops *ops, void *context,
					const struct router_mirror_settings *settings);
void router_mirror_free(struct router_mirror *mirror);

/* What a reload may change of the settings. A standby that is to keep up from now on asks those
 * whom it has not asked; what has been asked for goes on. */
void router_mirror_set(struct router_mirror *mirror, uint64_t dead_after_ms, bool sync_on_failure);
/* The services that are forwarded, by number (empty name: not in use), and scopes' names. Entries
 * of services and scopes that are gone are removed; every session is sent the new list. */
void router_mirror_configure(struct router_mirror *mirror,
			     const struct router_service services[MAX_SERVICES],
			     const struct scope scopes[MAX_SERVICES]);

/* After a restart: what is pinned and on disk, before any session: services first
 * (router_mirror_configure), then targets, their readiness, then entries. An entry whose service or
 * target is not known is deleted. */
int router_mirror_restore_target(struct router_mirror *mirror, uint16_t number, const char *name,
				 uint64_t node_id, const struct address *address, bool in_roster);
/*
 * This target was ready for this service, with this weight (0: not known). That stays true until
 * the first session is told otherwise; while the target is down it does not count, as for any.
 * Assumed: one instance, the least there was; for leastconn the connections that are restored.
 */
int router_mirror_restore_ready(struct router_mirror *mirror, uint16_t number, uint16_t service,
				uint32_t weight);
int router_mirror_restore_connection(struct router_mirror *mirror, const struct connection_key *key,
				     const struct router_connection *value);
int router_mirror_restore_affinity(struct router_mirror *mirror, const struct affinity_key *key,
				   const struct router_affinity *value);

/* A target with a verified certificate has said HELLO: its number, or -EEXIST (name in use by
 * another node that lives: GOODBYE_DUPLICATE), -EPROTO (a clock that cannot be), -ENOSPC (no number
 * left). An older session of it ends first, its unread bytes are void. The mirror answers with
 * HELLO's followers: ROLE, the services, SYNC, BARRIER. While this runs, `end_session` means the
 * older session, and every `send` the new one, whose number may be new too. */
int router_mirror_session(struct router_mirror *mirror, const struct message_hello *hello,
			  uint64_t now_ms);
/*
 * The target's session is gone. reason 0: without a word, the target was silent: it is down. Any
 * other: its node lives, its kernel serves on, only its agent is away: unattended; this includes a
 * stream that the peer's kernel has closed or reset because the agent has died (GOODBYE_STOPPING).
 * GOODBYE_LEAVING: it leaves the roster. May be called with reason 0 for an unattended target that
 * nothing gets through to any more: it is down then.
 */
void router_mirror_session_lost(struct router_mirror *mirror, uint16_t target,
				enum goodbye_reason reason, uint64_t now_ms);
/* A target without a session unwraps packets: its kernel lives. One that is down since nothing got
 * through to it is unattended again. One that was restored is down if neither this nor a session is
 * seen within RESTORED_MS. */
void router_mirror_echo(struct router_mirror *mirror, uint16_t target);
/* A message of the target's present session: 0 or -EPROTO (end the session with GOODBYE_MALFORMED).
 */
int router_mirror_receive(struct router_mirror *mirror, uint16_t target,
			  const struct message *message, uint64_t now_ms);

void router_mirror_role(struct router_mirror *mirror, enum role role, uint32_t epoch,
			uint64_t now_ms);
/* `limpet forget`: -ENOENT; -EBUSY while its session is open. Its entries go. */
int router_mirror_forget(struct router_mirror *mirror, const char *name, uint64_t now_ms);
/* Once a tick (100 ms): lingering connections end, targets become dead, claims are answered. */
void router_mirror_tick(struct router_mirror *mirror, uint64_t now_ms);

const struct mirror_target *router_mirror_target(const struct router_mirror *mirror,
						 uint16_t number);
int router_mirror_find(const struct router_mirror *mirror,
		       const char *name); /* number or -ENOENT */
/* Instances and connections that a usable target has reported for a service. */
const struct message_ready *router_mirror_ready(const struct router_mirror *mirror, uint16_t target,
						uint16_t service);

/* For sync_state: every target of the roster is in sync and there is at least one; how many are
 * missing. */
bool router_mirror_in_sync(const struct router_mirror *mirror);
/* A standby that asks nobody for his table before it becomes active. */
bool router_mirror_asks_late(const struct router_mirror *mirror);
bool router_mirror_affinities_in_sync(const struct router_mirror *mirror);
uint32_t router_mirror_missing(const struct router_mirror *mirror);
uint64_t router_mirror_clock(const struct router_mirror *mirror);

/* For metrics and `limpet status`: what is there now, and what has happened since the start. */
struct mirror_counts {
	uint64_t connections, lingering, affinities; /* in the CRHT; lingering: of connections */
	uint64_t connections_waiting, affinities_waiting; /* known, without room in the CRHT */
	uint64_t full;					  /* times that the CRHT had no room */
	uint64_t conflicts;		 /* reports of a connection that another target has too */
	uint64_t unlisted;		 /* messages about services or scopes that are not ours */
	uint64_t digests_different;	 /* each brought a new snapshot */
	uint64_t granted, refused, lost; /* answers to claims */
};
const struct mirror_counts *router_mirror_counts(const struct router_mirror *mirror);

#endif
