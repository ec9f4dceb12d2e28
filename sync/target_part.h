/* SPDX-License-Identifier: BSD-2-Clause */
/* target_part.h - what the files of the target part share. Others use agent.h. */
#ifndef LIMPET_TARGET_PART_H
#define LIMPET_TARGET_PART_H

#include "agent.h"
#include "services.h"
#include "session.h"
#include "target_mirror.h"

/* The session to one configured router, or the attempts at one. */
struct router_link {
	struct target_part *target;
	bool used;
	bool up; /* HELLO has been read */
	bool failure_logged;
	struct config_endpoint endpoint;
	char name[NAME_SIZE]; /* as it has said last; empty: not known */
	struct session *session;
	struct event *retry;
	unsigned int backoff_ms;
	uint64_t up_since_ms;
	uint64_t last_heard_ms;
	uint64_t digest_key[2];
};

struct target_part {
	struct agent *agent;
	const struct config *config;
	int agent_program, selector; /* pinned programs */
	bool stopping;

	struct target_mirror *mirror;
	struct router_link link[MAX_ROUTERS]; /* the index is the mirror's `router` */
	struct router_list list[MAX_ROUTERS];
	struct service_numbers *numbers;
	struct warned *warned; /* services that were refused, or on which routers differ */

	struct addresses *addresses;
	struct listeners *listeners;
	struct affinities *affinities;
	struct events *events;
	struct rescan *rescan;

	struct event *tick;
	unsigned int ticks;
	struct event *recover; /* events were lost: all is looked at again (target_tables.c) */
	uint64_t events_lost;  /* counter EVENT_LOST when the tables were read last */
	uint64_t retries; /* counters TRACK_RETRY, TRACK_FULL, TRACK_CLOSED at the last check */
	uint64_t full;
	uint64_t closed;
	bool crowded;		/* there are connections that have found no room in the table */
	bool readiness_changed; /* READY is to be worked out again at the next tick */
	bool end_affinities;	/* draining: connections only */
};

/* target.c */
void target_condition_changed(struct target_part *target);
/* READY of every service: at once, or with the next tick. */
void target_update_readiness(struct target_part *target);
void target_readiness_changed(struct target_part *target);
/* One line for `limpet monitor`: {"event": what, ...}; takes the reference of details (may be
 * NULL). */
void target_report(struct target_part *target, const char *what, struct json_object *details);

/* target_tables.c */
int target_tables_start(struct target_part *target);
/* Tell the mirror of every key that there is. -errno: the mirror stays as it is, and tells nobody
 * that it is complete, until a later call succeeds. */
int target_read_tables(struct target_part *target);
/* Each second: were events lost, could the tracker not do something? */
void target_tables_check(struct target_part *target);
/* TRACK_FULL now; to be asked before a rescan, and passed to it when it has ended, with how many
 * connections have found no room. */
uint64_t target_tables_full(const struct target_part *target);
void target_tables_rescanned(struct target_part *target, uint64_t full, unsigned int left_out);
/* Have the kernel's events been read to the end, and none been lost since the tables were read? */
bool target_events_complete(struct target_part *target);

/* target_sessions.c: a link for each configured router; those of others are closed. */
int target_links_configure(struct target_part *target);
void target_links_stop(struct target_part *target);
void target_link_wake(struct target_part *target, unsigned int router);

/* target_services.c */
int target_services_start(struct target_part *target); /* what is pinned */
void target_services_stop(struct target_part *target);
/* A router's list is complete, or the configuration has changed. */
void target_services_changed(struct target_part *target);
void target_list_received(struct target_part *target, unsigned int router);
/* Numbers to which nothing refers any more are free again. */
void target_services_release(struct target_part *target);
/* Of a target_part: lo has the addresses of its services. */
void target_set_addresses(void *context);

/* target_state.c: STATE/target.json, what a restart must not forget. */
struct instance_table;
int target_state_load(struct target_part *target, struct instance_table *table);
int target_state_save(struct target_part *target, const struct instance_table *table);

#endif
