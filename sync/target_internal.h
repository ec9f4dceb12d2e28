/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_internal.h - what the files of the target's mirror share: target_mirror.c (sessions and
 * their stream), target_keys.c (what the kernel's tables hold), target_claims.c (grants and terms).
 */
#ifndef LIMPET_TARGET_INTERNAL_H
#define LIMPET_TARGET_INTERNAL_H

#include "target_mirror.h"
#include "target_table.h"

/* Affinities that wait to be granted. */
struct claim {
	struct affinity_entry *affinity;
	struct claim *prev, *next;
	uint16_t granted; /* routers, a bit each, in their present sessions */
	struct term term[MAX_ROUTERS];
};

struct connection_entry {
	struct entry entry; /* first */
	uint64_t cookie;    /* of its socket, as it was read last */
};

struct affinity_entry {
	struct entry entry; /* first */
	uint64_t id;
	struct term term; /* published; zero: a claim */
	bool takeover;
	struct claim *claim; /* while it is one */
};

struct service_list {
	uint32_t number; /* 0: none yet */
	unsigned int count;
	struct message_service service[MAX_SERVICES];
};

/* One router: its session, if there is one. */
struct peer {
	struct mirror_router view;
	uint64_t digest_key[2];
	struct service_list *list, *coming; /* complete; between BEGIN and DONE */
	uint32_t covered; /* number of the list that the members below speak of; 0: none */
	bool service_visible[MAX_SERVICES], scope_visible[MAX_SERVICES]; /* by our numbers */
	bool asked;							 /* SYNC has come */
	bool started, begun, done; /* the snapshot: readers are open; BEGIN, DONE are written */
	bool drained;		   /* the ring has been read since SYNC or BARRIER */
	bool barrier;		   /* asked and not answered */
	uint32_t barrier_epoch;
	bool target_unsent;
	uint16_t number_of[MAX_SERVICES]; /* by index in the list: ours; NO_NUMBER: not served */
	bool ready_unsent[MAX_SERVICES];  /* by index in the list */
	unsigned int ready_unsent_count;
	uint64_t digest_due_ms;
	uint64_t counts_until_ms; /* it was active when its session ended: see conclude */
};

struct target_mirror {
	struct target_mirror_ops ops;
	void *context;
	struct table connections, affinities;
	struct claim *claims;
	struct target_service *services; /* [MAX_SERVICES] */
	struct scope *scopes;		 /* [MAX_SERVICES] */
	struct peer *peers;		 /* [MAX_ROUTERS] */
	struct message_target condition;
	struct message_ready ready[MAX_SERVICES]; /* by our numbers; the key is not used */
	uint64_t clock;				  /* highest seen */
	uint64_t now_ms;			  /* highest passed in */
	uint32_t scan;				  /* number of the last rescan */
	bool scanning, scanned; /* a rescan is under way; one has been completed */
};

static inline bool term_is_zero(const struct term *term)
{
	return !term->clock && !term->router;
}

static inline bool term_above(const struct term *a, const struct term *b)
{
	return a->clock != b->clock ? a->clock > b->clock : a->router > b->router;
}

/* target_keys.c */
bool connection_visible(const struct peer *peer, const struct entry *entry);
bool affinity_visible(const struct peer *peer, const struct entry *entry);
void connection_message(const struct target_mirror *mirror, const struct entry *entry,
			struct message *message);
void affinity_message(const struct target_mirror *mirror, const struct affinity_entry *affinity,
		      struct message *message);
/* Into this router's sum, if it is not there and should be. */
void count_connection(struct target_mirror *mirror, unsigned int router, struct entry *entry);
void count_affinity(struct target_mirror *mirror, unsigned int router, struct entry *entry);
/* An affinity has been published under this term. */
void set_term(struct target_mirror *mirror, struct affinity_entry *affinity,
	      const struct term *term);

/* target_claims.c */
/* -ENOMEM */
int claim_open(struct target_mirror *mirror, struct affinity_entry *affinity);
void claim_close(struct target_mirror *mirror, struct affinity_entry *affinity);
/* Grants count only within their session. */
void claims_forget_router(struct target_mirror *mirror, unsigned int router);
/* Publish what every active router has granted: to be called whenever that may have changed. */
void claims_conclude(struct target_mirror *mirror);
int claims_answer(struct target_mirror *mirror, unsigned int router, uint8_t type,
		  const struct message_answer *answer);

/* target_mirror.c */
/* -EPROTO: too far ahead to be true. */
int hear_clock(struct target_mirror *mirror, uint64_t clock);
void hear_time(struct target_mirror *mirror, uint64_t now_ms);
void wake_readers(struct target_mirror *mirror);

#endif
