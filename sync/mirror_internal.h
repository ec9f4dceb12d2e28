/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_internal.h - what the files of the router's mirror share: router_mirror.c (sessions,
 * messages, role), mirror_services.c, mirror_targets.c (roster and states); mirror_connections.c
 * with mirror_records.c, and mirror_claims.c with mirror_contests.c and mirror_answers.c (the two
 * tables). The interface is router_mirror.h.
 */
#ifndef LIMPET_MIRROR_INTERNAL_H
#define LIMPET_MIRROR_INTERNAL_H

#include <sys/queue.h>

#include "router_mirror.h"
#include "siphash.h"

/* Clients choose addresses and ports, so the tables' hash is keyed (mirror_hash_key, random). */
extern uint64_t mirror_hash_key[2];
#define HASH_FUNCTION(key, length, value)                                                          \
	((value) = (unsigned int)siphash(mirror_hash_key, key, length))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define LINGER_CLOSED_MS 60000 /* FIN_WAIT2 and TIME_WAIT last as long */
#define LINGER_RESET_MS	 1000  /* what was in flight */
#define RESTORED_MS	 5000  /* after a restart: targets come back, or are down */
#define UNATTENDED_MS	 10000 /* claims wait for the affinities of a target without an agent */
#define CRAMPED_MS	 10000 /* as long nobody waits for room: a table is no longer full */

/* One target's word that it has a connection. */
struct holding {
	LIST_ENTRY(holding) of_target;
	struct record *record;
	struct holding *next; /* further holders of the same key */
	uint32_t mark;	      /* of the snapshot or session in which it was said last */
	uint16_t target;      /* NO_NUMBER: not in use (record.own) */
	bool older;	      /* another target's of the same key has been established since */
};

enum record_queue { QUEUE_NONE, QUEUE_CLOSED, QUEUE_RESET, QUEUE_WAITING, RECORD_QUEUES };

/*
 * A connection that some target holds, or that lingers. `target` and `state` are what its entry in
 * the CRHT is to be; in QUEUE_WAITING there was no room for it there.
 */
struct record {
	struct connection_key key;
	uint16_t target;
	uint8_t state; /* enum connection_state */
	uint8_t queue; /* enum record_queue */
	bool placed;   /* it is in the CRHT */
	TAILQ_ENTRY(record) in_queue;
	uint64_t until_ms;
	struct holding own;   /* the usual case: one holder */
	struct holding *more; /* rare: the same key at two targets */
	UT_hash_handle hh;
};

/* One target's claim to a client: published (term) or waiting to be granted (term zero). */
struct claim {
	LIST_ENTRY(claim) of_target;
	TAILQ_ENTRY(claim) in_pending;
	struct contest *contest;
	struct claim *next; /* of the same contest */
	uint64_t id;
	struct term term;
	uint32_t mark, session;
	uint16_t target;
	bool takeover;
	bool pending;  /* to be answered */
	bool waits;    /* to be answered when nothing is granted to another and not published */
	bool answered; /* for this id, in this session */
	bool granted;  /* GRANT was sent for this id, in this session */
	bool revoked;  /* and REFUSE after it */
	bool told;     /* LOST was sent for this id, in this session */
};

/* All that the targets say of one client in one scope. */
struct contest {
	struct affinity_key key;
	uint16_t winner;    /* as its entry in the CRHT is to be; NO_NUMBER: none */
	uint16_t tentative; /* target of a claim granted here and not yet published; or NO_NUMBER */
	bool placed, waiting;  /* it is in the CRHT; there was no room for it */
	uint16_t waits_for;    /* while it waits: the winner */
	uint64_t tentative_id; /* 0: from before a restart */
	struct term tentative_term;
	uint64_t clock; /* as in the CRHT */
	bool granted;	/* likewise */
	struct claim *claims;
	TAILQ_ENTRY(contest) in_waiting;
	UT_hash_handle hh;
};

/* Sums of what a target has said since `mark`; DIGEST is compared with them. */
struct sums {
	uint64_t connections, connections_sum;
	uint64_t affinities, affinities_sum;
};

struct ready {
	struct message_ready said;
	uint32_t session; /* in which it was said */
	bool valid;
};

struct peer {
	struct mirror_target info;
	uint16_t number;
	bool known;    /* in the roster, or gone with entries left; else only its name is kept */
	bool open;     /* a session is open, and was not ended from here */
	bool ended;    /* it was ended from here, and the caller has not said yet that it is gone */
	uint32_t list; /* number of the list of services last sent in this session */
	uint32_t begun_list;  /* number in the last BEGIN */
	bool begun;	      /* between BEGIN and DONE */
	bool done;	      /* DONE of the present list has been read */
	bool affinities_done; /* all affinities of a snapshot of this session have been read */
	bool asked;	      /* SYNC was sent in this session */
	bool asked_active, barrier_answered;
	uint32_t asked_epoch; /* with asked_active: of the role when SYNC was sent */
	uint32_t session;     /* counts up */
	uint32_t mark;	      /* counts up at each session and each BEGIN */
	uint64_t digest_key[2];
	struct sums sums;
	bool waited_for;     /* affinities_missing() when that was counted last */
	bool unreachable;    /* down for this alone: no agent, and nothing got through */
	bool restored;	     /* neither heard of nor echoed since this router's restart */
	bool cramped;	     /* entries of its wait for room, or did a moment ago */
	uint64_t cramped_ms; /* when some did last */
	uint64_t lost_ms;    /* when its session was lost, or it was restored; 0: not yet known */
	uint64_t retired;    /* counts up; the longest out of use is used again first */
	struct ready *ready; /* by service number */
	LIST_HEAD(, holding) holdings;
	LIST_HEAD(, claim) claims;
};

struct service_number {
	struct service_key key;
	uint16_t number;
};

struct scope_number {
	char name[NAME_SIZE];
	uint16_t number;
	bool takeover; /* some service of the scope allows it */
};

TAILQ_HEAD(record_list, record);
TAILQ_HEAD(claim_list, claim);
TAILQ_HEAD(contest_list, contest);

struct router_mirror {
	struct router_mirror_ops ops;
	void *context;
	struct router_mirror_settings settings;
	uint64_t now_ms;
	uint64_t clock;

	enum role role;
	uint32_t epoch;
	uint64_t role_ms;

	struct router_service services[MAX_SERVICES];
	struct scope scopes[MAX_SERVICES];
	struct service_number by_key[MAX_SERVICES]; /* sorted */
	struct scope_number by_name[MAX_SERVICES];  /* sorted */
	unsigned int service_count, scope_count;

	struct peer *peers[MAX_TARGETS];
	unsigned int peer_limit; /* above the highest number ever used */
	uint32_t expected, missing, missing_affinities;
	uint64_t retirements;

	struct record *records;
	struct record_list queues[RECORD_QUEUES];
	struct contest *contests;
	struct contest_list waiting;
	struct claim_list pending;
	struct mirror_counts counts;
};

/* mirror_services.c */
int mirror_service(const struct router_mirror *mirror, const struct service_key *key);
const struct scope_number *mirror_scope(const struct router_mirror *mirror, const char *name);
void mirror_services_send(struct router_mirror *mirror, struct peer *peer);

/* mirror_targets.c */
enum target_event {
	EVENT_SESSION,	   /* a session has begun */
	EVENT_IN_SYNC,	   /* its whole table is here */
	EVENT_OUT_OF_SYNC, /* it is asked for a barrier */
	EVENT_GOODBYE,	   /* the session is gone, the node lives */
	EVENT_LOST,	   /* the session is gone without a word, or the node does not answer */
	EVENT_GIVEN_UP,	   /* dead_time is over */
	EVENT_ECHO,	   /* packets get through again to a node without an agent */
	TARGET_EVENTS
};
enum target_state mirror_next_state(enum target_state state, enum target_event event);
struct peer *mirror_peer_get(const struct router_mirror *mirror, uint16_t number);
/* Down or given up; given up. */
bool mirror_target_is_out(const struct router_mirror *mirror, uint16_t number);
bool mirror_target_is_gone(const struct router_mirror *mirror, uint16_t number);
struct peer *mirror_peer_new(struct router_mirror *mirror,
			     const char *name); /* NULL: no number left */
int mirror_peer_find(const struct router_mirror *mirror, const char *name);
void mirror_peer_event(struct router_mirror *mirror, struct peer *peer, enum target_event event);
/* Is it in sync? After anything that may have changed the answer. */
void mirror_peer_refresh(struct router_mirror *mirror, struct peer *peer);
/* An entry of its has no room in a table; it has found some, or is no more. */
void mirror_peer_waits(struct router_mirror *mirror, struct peer *peer);
void mirror_peer_placed(struct peer *peer);
void mirror_peer_retire(struct router_mirror *mirror, struct peer *peer);
void mirror_peers_tick(struct router_mirror *mirror);
void mirror_peers_count(struct router_mirror *mirror);
int mirror_peer_ready(struct router_mirror *mirror, struct peer *peer,
		      const struct message_ready *ready);
void mirror_peer_ready_sweep(struct peer *peer);

/* mirror_records.c */
struct record *mirror_record_find(struct router_mirror *mirror, const struct connection_key *key);
struct record *mirror_record_new(struct router_mirror *mirror, const struct connection_key *key);
void mirror_record_free(struct router_mirror *mirror, struct record *record);
struct holding *mirror_holding_find(struct record *record, uint16_t target);
struct holding *mirror_holding_new(struct record *record, struct peer *peer);
void mirror_holding_free(struct holding *holding);
void mirror_record_enqueue(struct router_mirror *mirror, struct record *record,
			   enum record_queue queue);
int mirror_record_put(struct router_mirror *mirror, struct record *record);
/* Its entry points to this target, which holds it, as soon as there is room. */
void mirror_record_open(struct router_mirror *mirror, struct record *record, uint16_t target);
/* Frees no other record: callers are walking through them. */
void mirror_record_remove(struct router_mirror *mirror, struct record *record);
/* Room for at most so many of those that wait. */
void mirror_records_refill(struct router_mirror *mirror, unsigned int most);

/* mirror_connections.c */
/* Who else holds it: the one that this router has seen the handshake go to, else any that lives.
 * `any`: even if that is hardly the living one, if there is nobody else. NO_NUMBER: nobody. */
uint16_t mirror_record_successor(const struct router_mirror *mirror, struct record *record,
				 bool any);
int mirror_connections_report(struct router_mirror *mirror, struct peer *peer,
			      const struct message_connection *message);
void mirror_connections_end(struct router_mirror *mirror, struct peer *peer,
			    const struct message_connection *message);
int mirror_connections_restore(struct router_mirror *mirror, const struct connection_key *key,
			       const struct router_connection *value);
void mirror_connections_sweep(struct router_mirror *mirror, struct peer *peer);
void mirror_connections_purge(struct router_mirror *mirror, struct peer *peer);
void mirror_connections_give_up(struct router_mirror *mirror, struct peer *peer);
void mirror_connections_drop_services(struct router_mirror *mirror, const bool gone[MAX_SERVICES]);
void mirror_connections_tick(struct router_mirror *mirror);
void mirror_connections_free(struct router_mirror *mirror);

/* mirror_contests.c */
static inline bool term_is_zero(const struct term *term)
{
	return !term->clock && !term->router;
}

static inline bool term_above(const struct term *a, const struct term *b)
{
	return a->clock != b->clock ? a->clock > b->clock : a->router > b->router;
}

struct contest *mirror_contest_find(struct router_mirror *mirror, const struct affinity_key *key);
struct contest *mirror_contest_new(struct router_mirror *mirror, const struct affinity_key *key);
struct claim *mirror_contest_claim(struct contest *contest, uint16_t target);
/* Puts the winner in place; a contest that nobody speaks of any more goes. */
void mirror_contest_elect(struct router_mirror *mirror, struct contest *contest);
void mirror_contests_refill(struct router_mirror *mirror, unsigned int most);

/* mirror_answers.c */
void mirror_claim_reply(struct router_mirror *mirror, const struct claim *claim, uint8_t type,
			const struct term *term, enum refuse_reason reason);
void mirror_refuse_unlisted(struct router_mirror *mirror, const struct peer *peer,
			    const struct message_affinity *message);
/* It waits to be answered, or does not. */
void mirror_claim_pend(struct router_mirror *mirror, struct claim *claim, bool pending);
/* A session has begun or ended, or it is another request: no answer counts any more. */
void mirror_claim_begin(struct claim *claim);
/* What was granted here is published, or is not to be published any more: who waits for that is
 * answered. */
void mirror_contest_conclude(struct router_mirror *mirror, struct contest *contest);
void mirror_contest_wake(struct router_mirror *mirror, struct contest *contest);
void mirror_claims_activated(struct router_mirror *mirror);
void mirror_claims_answer(struct router_mirror *mirror);

/* mirror_claims.c */
int mirror_claims_report(struct router_mirror *mirror, struct peer *peer,
			 const struct message_affinity *message);
void mirror_claims_end(struct router_mirror *mirror, struct peer *peer,
		       const struct message_affinity_end *message);
int mirror_claims_restore(struct router_mirror *mirror, const struct affinity_key *key,
			  const struct router_affinity *value);
void mirror_claims_sweep(struct router_mirror *mirror, struct peer *peer);
void mirror_claims_purge(struct router_mirror *mirror, struct peer *peer);
void mirror_claims_new_session(struct router_mirror *mirror, struct peer *peer);
void mirror_claims_state_changed(struct router_mirror *mirror, struct peer *peer);
void mirror_claims_drop_scopes(struct router_mirror *mirror, const bool gone[MAX_SERVICES]);
void mirror_claims_tick(struct router_mirror *mirror); /* and mirror_claims_answer */
void mirror_claims_free(struct router_mirror *mirror);

#endif
