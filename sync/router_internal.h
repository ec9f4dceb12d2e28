/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * router_internal.h - what the files of the router part share: router.c (start, role, reload),
 * router_sessions.c (targets' sessions), router_tables.c (the pinned CRHT, the roster, restart),
 * router_targets.c (flags, rings, sync_state), router_unserved.c, router_view.c (what is asked).
 * The rules are the mirror's (router_mirror.h).
 */
#ifndef LIMPET_ROUTER_INTERNAL_H
#define LIMPET_ROUTER_INTERNAL_H

#include <sys/queue.h>

#include "agent.h"
#include "echoes.h"
#include "next_hop.h"
#include "probe.h"
#include "rings.h"
#include "router_mirror.h"
#include "session.h"

struct evconnlistener;

/* One session of a target, or of someone who has not said HELLO yet. */
struct router_peer {
	TAILQ_ENTRY(router_peer) link; /* among those that wait */
	struct router_part *router;
	struct session *session;
	uint16_t number; /* NO_NUMBER before HELLO */
};

/* What router/targets says of a number, and what it comes from that the mirror does not know. */
struct forward {
	struct target pinned;	 /* without its sequence */
	enum target_state state; /* as logged last */
	bool in_sync;		 /* as logged last */
	bool named;		 /* it had a name when it was looked at last */
	enum path_state path;
	uint64_t opened; /* the probe that was the last when its session opened */
	uint64_t echoed; /* the last probe that it has echoed; 0: none */
	bool dirty;
};

struct router_part {
	struct agent *agent;
	int program;			 /* router_agent */
	struct address source4, source6; /* of encapsulated packets; zero: none */
	struct router_mirror *mirror;
	struct next_hops *hops;
	struct prober *prober;
	struct echoes *echoes;
	struct rings *rings;
	struct evconnlistener *listener;
	struct event *accept_again, *tick, *second, *update;

	TAILQ_HEAD(, router_peer) waiting; /* no HELLO yet; the oldest first */
	unsigned int waiting_count;
	struct router_peer *peers[MAX_TARGETS];
	struct router_peer *joining; /* while the mirror takes a HELLO */

	struct router_role role;
	struct sync_state sync_state;
	struct router_service services[MAX_SERVICES];
	struct scope scopes[MAX_SERVICES];
	struct service_state service_state[MAX_SERVICES];
	struct unserved unserved[MAX_SERVICES];

	struct forward forwards[MAX_TARGETS];
	unsigned int forward_limit; /* above the highest number in use */
	uint64_t probe_sequence;
	uint64_t started_ms, updated_ms;
	bool settled; /* after a restart: what is pinned has been replaced by what is reported */
	bool roster_dirty, roster_failed; /* to be written; could not be */
	uint64_t roster_due_ms;		  /* not before */
	unsigned int unwritten;		  /* entries that the kernel has refused, for the log */
	uint64_t unwritten_logged_ms;
};

/* router_sessions.c */
int router_sessions_start(struct router_part *router);
void router_sessions_stop(struct router_part *router);
void router_mirror_send(void *context, uint16_t target, const struct message *message);
void router_mirror_end_session(void *context, uint16_t target, enum goodbye_reason reason,
			       const char *text);

/* router_tables.c */
int router_put_connection(void *context, const struct connection_key *key,
			  const struct router_connection *value);
int router_put_affinity(void *context, const struct affinity_key *key,
			const struct router_affinity *value);
int router_noted(void *context, const struct connection_key *key);
int router_open_program(struct router_part *router);
/* The target that this router, in its present role, has seen the handshake go to (of a
 * ROUTER_LOOK_UP's answer), or -ENOENT: what it has noted before may be of a connection that has
 * ended while another router was active. */
int router_noted_target(const struct router_call *answer, const struct router_role *role);
/*
 * Was this target ready for a service when the pinned maps were written last? Its place in the
 * service's ring says so. Who has none had nobody ready, or drained, or was down: it takes no new
 * clients until it has a session. But with hotstandby there is room for one alone: who took new
 * clients and has not said that it does not serve this is assumed to be ready as well.
 */
bool router_was_ready(const struct target *pinned, bool in_ring, bool unserved,
		      enum distribution distribution);
int router_read_services(struct router_part *router);
int router_restore(struct router_part *router);
void router_write_roster(struct router_part *router);

/* router_targets.c */
void router_target_changed(void *context, uint16_t target);
void router_update_soon(struct router_part *router);
void router_update(struct router_part *router);
/* Is the path to the target of this session whole, as its heartbeats tell? */
void router_judge_path(struct router_part *router, uint16_t target);
void router_probe_all(struct router_part *router);
/* The last probes go to targets without an agent too: whoever neither echoes them nor answers on
 * the link is down. */
void router_look_for_unattended(struct router_part *router);
void router_echo_heard(void *context, const struct address *target, uint64_t sequence);
const struct address *router_source(const struct router_part *router, const struct address *target);
const char *router_state_name(const struct mirror_target *target);

/* router_unserved.c */
void router_update_unserved(struct router_part *router, __u16 service);

/* For `limpet monitor`. */
void router_event(struct router_part *router, const char *what, const char *name, const char *text);

#endif
