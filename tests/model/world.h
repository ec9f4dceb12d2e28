/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h - a cluster in one process: targets' kernels and routers' data planes are simulated; the
 * rules are the real ones: sync/target_mirror.h, sync/router_mirror.h, bpf/choose.h.
 *
 * session.c carries messages, kernel.c is a target's kernel, agent.c the agent there, plane.c a
 * router (pinned tables and agent), steps.c and traffic.c are what may happen, clock.c is time;
 * promises.c and rest.c say what must never happen, history.c draws what happens next.
 */
#ifndef LIMPET_MODEL_WORLD_H
#define LIMPET_MODEL_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "forward.h"
#include "router_mirror.h"
#include "target_mirror.h"

#define TARGETS	  3
#define ROUTERS	  2
#define INSTANCES 2
#define EVENTS	  6 /* that fit into a kernel's ring */
#define PACKETS	  256

#define DEAD_AFTER_MS 60000
#define SLOW_MS	      6000  /* the longest that a target is slow */
#define SETTLE_MS     6000  /* as sync/router_targets.c */
#define LONG_MS	      11500 /* no claim waits longer */

/* CLOSING: it has closed first (FIN_WAIT2), the client still sends. */
enum server_state { SERVER_NONE, SERVER_HALF, SERVER_OPEN, SERVER_CLOSING, SERVER_CLOSED };

/* One connection, as nobody in the real world sees it: from both ends. */
struct conn {
	struct conn *next; /* of all that ever were */
	unsigned int id, client, port;
	uint32_t sequence; /* of its SYN */
	unsigned int target, instance;
	unsigned int router;  /* that its SYN came through */
	unsigned int boot;    /* of that router */
	bool unnoted;	      /* and went to where an older connection of the 4-tuple was known */
	unsigned int strayed; /* a later SYN of its went elsewhere: through these, a bit each */
	unsigned int forged;  /* and a forged one, before its report was there */
	uint64_t opened_ms, closed_ms;
	unsigned int known[ROUTERS]; /* its target has reported it: since which boot; 0: not */
	enum server_state server;
	bool client_open; /* the client believes in it */
};

struct packet {
	struct conn *conn;
	bool syn;
	uint64_t sent_ms;
};

/* An affinity in a target's kernel. */
struct held {
	bool present, takeover;
	bool legit; /* granted over another's: that was asked for, or the other was down */
	uint64_t id;
	unsigned int instance;
	bool doubted;	      /* granted while another's, published, was not known there */
	unsigned int granted; /* by these routers, a bit each, in their present sessions */
	uint32_t granted_epoch[ROUTERS];
	unsigned int seen; /* it has been in the tables of these */
};

/* The pinned note that it is in force everywhere. */
struct pinned_grant {
	uint64_t id; /* 0: none */
	struct term term;
};

struct kernel_event {
	bool affinity;
	unsigned int client, port;
	uint8_t how;
};

struct queue {
	struct message *message;
	size_t head, tail, size;
};

/* One TCP connection from a target to a router. */
struct wire {
	struct wire *next; /* of all that ever were */
	unsigned int number, target, router;
	enum goodbye_reason goodbye; /* of the target; 0: it has not said any */
	struct queue up, down;
	bool open_at_target, open_at_router;
	uint64_t silent_ms; /* since then, if only the router's end is open */
};

struct node_target {
	unsigned int n;
	bool up;
	bool ready[INSTANCES], draining;
	bool slow_ring, slow_streams; /* nothing moves there, for some seconds */
	uint64_t slow_until_ms, booted_ms;
	uint64_t changed_ms; /* readiness or drain */
	struct conn *sockets[CLIENTS][PORTS], *half[CLIENTS][PORTS];
	struct held held[CLIENTS];
	struct pinned_grant grants[CLIENTS];
	struct kernel_event ring[EVENTS];
	unsigned int events;
	bool lost;
	struct target_mirror *mirror; /* NULL: the agent is dead */
	struct wire *wires[ROUTERS];
};

struct node_router {
	unsigned int n, boots;
	bool up;
	struct plane plane;
	struct router_mirror *mirror; /* NULL: the agent is dead */
	struct wire *wires[TARGETS], *opening;
	bool roster[TARGETS]; /* on disk */
	uint32_t epoch;	      /* of the role, as the agent has seen it */
	bool unpublished;     /* the agent has not yet written flags, rings and sync_state */
	bool on_failure;      /* standby_sync */
	bool settled;	      /* after a restart: the pinned ring is no longer better */
	uint64_t started_ms, blind_ms; /* the agent; when there was none last */
	unsigned int put_client,
		put_winner;		  /* the last change of an affinity: who held it before */
	unsigned int taken_over[CLIENTS]; /* TARGETS, or who was granted another's client last */
};

/* In force everywhere. */
struct settled {
	bool valid;
	bool doubted; /* it, or another in its place, was granted where the other was not known */
	unsigned int target;
	uint64_t id, since_ms;
};

struct statistics {
	unsigned long steps, packets, forwarded, dropped, refused, guesses, handshakes_broken;
	unsigned long sessions, resyncs, published, lost, ecmp_stale, late_affinity, blind_guess,
		remnant, stale_entry, hold_over, given_up, early;
};

struct world {
	uint64_t random, now_us;
	unsigned long step;
	bool ecmp, trace, record;
	bool split;		       /* both routers think that they own the address */
	uint64_t joined_ms, healed_ms; /* when it was no longer so; when nothing was cut any more */
	struct node_target targets[TARGETS];
	struct node_router routers[ROUTERS];
	struct conn *conns, *open[CLIENTS][PORTS];
	struct wire *wires;
	uint64_t remnant_ms[CLIENTS][PORTS]; /* when one ended that its client had forgotten */
	struct packet packets[PACKETS];
	unsigned int packet_count;
	bool cut[TARGETS][ROUTERS]; /* neither packets nor sessions pass */
	unsigned int owner, next_conn, next_wire, salt;
	uint64_t next_affinity;
	struct settled settled[CLIENTS];
	struct statistics *statistics;
	char violation[256]; /* empty: none */
};

extern struct world world;

/* history.c */
unsigned int draw(unsigned int below);
bool chance(unsigned int percent);
uint64_t now_ms(void);
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);

/* steps.c */
#define MAX_STEPS 64
struct step {
	unsigned int weight;
	void (*run)(void);
	bool traffic;
};
extern const struct step steps[];
extern const size_t step_count;
struct node_target *any_target(void);
struct node_router *any_router(void);
bool is_active(const struct node_router *router); /* by who owns the address */
bool two_active(void);				  /* now, or not long ago */
bool reaches(const struct node_router *router, unsigned int target);
void activate_owners(void); /* what keepalived does, some time after the address has moved */
void return_routers(void);
void return_targets(void);
void heal(void);

void kill_router(struct node_router *router);
void do_hand_back(void);
void do_event(void);
void do_send(void);
void do_router_read(void);
void do_target_read(void);
void do_break(void);
void do_publish(void);
void do_reconnect(void);
void do_be_slow(void);

/* scenes.c */
void do_rivalry(void);
void do_busy_takeover(void);
void do_flapping(void);
void do_amnesia(void);

/* traffic.c */
void do_deliver(void);
void do_connect(void);
void do_data(void);
void do_rehash(void);
void do_close(void);
void do_vanish(void);
void do_spoof(void);
void do_evict(void);
void do_request(void);
void do_release(void);
void do_instance_dies(void);
void do_instance_starts(void);

/* clock.c */
void reconnect_all(void);
void let_pass(uint64_t ms);

/* session.c */
void wire_open(struct node_target *target, struct node_router *router);
/* The target's end. `goodbye`: what it says last, 0: nothing. */
void wire_break(struct node_target *target, struct node_router *router,
		enum goodbye_reason goodbye);
bool wire_send_up(struct wire *wire);	/* the target writes one message */
bool wire_read_up(struct wire *wire);	/* the router reads one, or the end */
bool wire_read_down(struct wire *wire); /* the target reads one, or the end */
void wire_push(struct queue *queue, const struct message *message);
void wire_close_at_router(struct node_router *router, unsigned int target);
void wires_drain(void); /* everything that can arrive has arrived */
void wires_prune(void); /* of those that are closed at both ends */
void wires_free(void);

/* kernel.c */
void target_boot(struct node_target *target); /* empty tables, `limpet load`, agent */
/* All that it knew is gone; its routers hear nothing, or GOODBYE_LEAVING (`limpet unload`). */
void target_die(struct node_target *target, enum goodbye_reason goodbye);
/* true: it was a SYN, and a handshake has begun. */
bool target_arrive(struct node_target *target, struct conn *conn, bool syn);
void target_close_socket(struct node_target *target, struct conn *conn, uint8_t how);
void target_request(struct node_target *target, struct conn *conn, bool takeover);
void target_end_affinity(struct node_target *target, unsigned int client, const char *why,
			 bool legit);

/* agent.c */
void target_start_agent(struct node_target *target);
void target_stop_agent(struct node_target *target, enum goodbye_reason goodbye);
void target_tell(struct node_target *target); /* what is ready, and whether it drains */
bool target_read_event(struct node_target *target);

/* plane.c */
void router_boot(struct node_router *router); /* empty tables, `limpet load` */
void router_start_agent(struct node_router *router);
void router_stop_agent(struct node_router *router);
void router_publish(struct node_router *router);
void router_set_role(struct node_router *router, enum role role); /* `limpet activate` */
void router_notice_role(struct node_router *router);
int router_target_number(const struct node_router *router, unsigned int target);  /* or -1 */
unsigned int router_target_at(const struct node_router *router, uint16_t number); /* or TARGETS */

/* promises.c: at every step */
__attribute__((format(printf, 2, 3))) void violated(const char *promise, const char *format, ...);
void promise_packet(const struct node_router *router, struct conn *conn, bool syn, bool fresh,
		    int verdict);
void promise_affinity_ended(const struct node_target *target, unsigned int client,
			    const struct held *held, const char *why, bool legit);
void promise_published(const struct node_target *target, unsigned int client,
		       const struct term *term);
void promise_refusal(const struct node_router *router, const struct message_answer *refusal);
bool has_remnant(const struct conn *conn);
void promise_answers(void); /* much time has passed */

/* rest.c: at rest */
void promise_rest(void);

#endif
