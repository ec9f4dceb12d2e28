/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage.h - a target on the running kernel, without its agent: the four programs of the target,
 * attached, in a network namespace and a cgroup of their own; services, groups and instances filled
 * in by hand; real sockets at both ends, over lo.
 *
 * Services: SHOP 127.0.1.10:80 and SHOP6 [fd00:113::10]:80 with affinity by request, in one scope;
 * PLAIN 127.0.1.10:443 without affinity; TIMED 127.0.1.10:81 with affinity by the first connection.
 * Clients: 127.0.2.1 … and fd00:2::1 … (CLIENTS6 of them).
 */
#ifndef LIMPET_TEST_STAGE_H
#define LIMPET_TEST_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "limpet/limpet.h"

enum { SHOP, SHOP6, PLAIN, TIMED, STAGE_SERVICES };

#define SERVICE4 "127.0.1.10"
#define SERVICE6 "fd00:113::10"
#define CLIENTS6 4

#define STAGE_AFFINITIES  16
#define STAGE_CONNECTIONS 4096
#define STAGE_MSS4	  1000
#define STAGE_MSS6	  900

#define STAGE_IDLE_MS 60000
#define STAGE_SLOTS   64 /* instances that a test may use */

/* cmocka's: once a group; before and after each test. The latter checks that nothing is left. */
int stage_load(void **state);
int stage_unload(void **state);

/* The cgroup that the request program is attached to, opened. */
int stage_cgroup(void);
/* From now on in a network namespace of its own, as a container on this node, until `leave`; the
 * value that `enter` gives. */
int stage_enter_container(void);
void stage_leave_container(int home);
int stage_begin(void **state);
int stage_end(void **state);

/* Which of the two programs for connections run: track_state, track_again. Both, otherwise. */
void stage_track(bool first, bool again);

enum stage_map {
	STAGE_CONNECTION_MAP,
	STAGE_SOCKET_MAP,
	STAGE_CLIENT_MAP,
	STAGE_AFFINITY_MAP,
	STAGE_GRANT_MAP,
	STAGE_PROCESS_MAP,
	STAGE_SERVICE_MAP,
	STAGE_INSTANCE_MAP,
	STAGE_LOAD_MAP,
	STAGE_GROUP_MAP,
	STAGE_LISTENER_MAP,
	STAGE_NOTE_MAP,
	STAGE_MSS_MAP,
	STAGE_MAPS
};
int stage_map(enum stage_map map); /* its descriptor */
int stage_selector(void);	   /* of the program */
int stage_agent(void);
unsigned int stage_entries(enum stage_map map);

struct target_service stage_service(uint32_t number);
void stage_put_service(uint32_t number, const struct target_service *service);
struct instance stage_instance(uint32_t slot);
void stage_put_instance(uint32_t slot, const struct instance *instance);
struct instance_load stage_instance_load(uint32_t slot);
uint64_t stage_counter(enum counter counter);
/* Where CPUs meet on purpose, one may find no count while another is entering it anew: that is
 * counted as a retry, and corrected by the agent, whose part this is. No connection is left. */
void stage_correct_clients(void);

/* A listener of this instance, adopted as the agent does it (address NULL: all, IPv6 and IPv4);
 * its descriptor. The instance is made ready if it is free. */
int stage_listen(uint32_t slot, const char *address, unsigned int port);
int stage_bind(const char *address, unsigned int port); /* with SO_REUSEPORT */
/* One that nobody adopts. */
int stage_listen_plain(const char *address, unsigned int port);
/* One of each of the instances 0 … count - 1. */
void stage_listen_all(uint32_t count, const char *address, unsigned int port);
/* The rest of adoption, for a socket that listens. */
void stage_adopt(int listener, uint32_t slot, const char *address, unsigned int port);

/* Addresses of clients that have nothing to do with each other; good until the next call. */
const char *stage_client(unsigned int number);

/* Both ends of an established connection, and the instance whose listener has accepted it. */
struct pair {
	int client, server;
	uint32_t instance;
};
struct pair stage_pair(const char *client, const char *service, unsigned int port);
int stage_connect(const char *client, const char *service, unsigned int port); /* client's end */
int stage_socket(const char *client); /* not connected yet */
/* With TCP Fast Open, the data in the SYN; waits for nothing. */
int stage_connect_fast(int fd, const char *service, unsigned int port, const char *data);
bool stage_accept_now(struct pair *pair); /* the server's end, if there is one */
struct pair stage_accept(int client);	  /* what has been accepted, by whichever listener */
void stage_close(int fd);		  /* of ours: also at the end of a test */
void stage_close_all(void);
void stage_reset(int fd); /* closes with a RST */
void stage_close_pair(struct pair *pair);

/* setsockopt and getsockopt, 0 or -errno. */
int stage_ask(int conn, uint32_t flags, uint32_t idle_ms, uint32_t max_life_ms);
int stage_ask_default(int conn); /* without flags, with the service's times */
struct limpet_affinity_status stage_status(int conn);
/* A child does it; what it has returned, 0 or -errno. */
int stage_in_child(int (*act)(int conn), int conn);

struct affinity_key stage_key(const char *client);
bool stage_affinity(const char *client, struct target_affinity *affinity);
uint32_t stage_client_connections(const char *client, uint32_t slot);
/* The agent's program: its result. */
int stage_call(struct agent_call *call);
int stage_reap(const char *client);

/* Events since the last call, of this type. */
unsigned int stage_events(enum event_type type, struct event *last);

/* Wait until holds(context), at most LIMIT; false: it did not. */
bool stage_wait(bool (*holds)(void *context), void *context);
bool stage_wait_connections(unsigned int entries); /* until the CRHT has so many */

#endif
