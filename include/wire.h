/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire.h - the messages between targets and routers, as docs/PROTOCOL.md describes them.
 *
 * Whoever changes a byte on the wire raises WIRE_VERSION. Nothing in here is laid out as on the
 * wire: the codec (common/codec.c) reads and writes each member by itself.
 */
#ifndef LIMPET_WIRE_H
#define LIMPET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define WIRE_PORT	 7562
#define WIRE_VERSION	 1
#define WIRE_MAGIC	 0x4c494d50u  /* "LIMP", first in HELLO */
#define WIRE_HEADER	 4	      /* u16 length of the payload, u8 type, u8 zero */
#define WIRE_CLOCK_LEAP	 (1ULL << 48) /* a logical clock further ahead than this is an error */
#define WIRE_MAX_PAYLOAD (65536 - WIRE_HEADER)

/* Message numbers are never used again for something else. T: from a target, R: from a router, B:
 * both. */
enum message_type {
	MESSAGE_HELLO = 1,	/* B first of all */
	MESSAGE_SERVICE,	/* R a service that it forwards */
	MESSAGE_TARGET,		/* T its own condition */
	MESSAGE_READY,		/* T instances and connections of one service */
	MESSAGE_AFFINITY,	/* T a claim, or an affinity that it has published */
	MESSAGE_AFFINITY_END,	/* T */
	MESSAGE_CONNECTION,	/* T */
	MESSAGE_CONNECTION_END, /* T */
	MESSAGE_BEGIN,		/* B a full list follows: T of the table, R of services */
	MESSAGE_DONE,		/* B what was not named since BEGIN does not exist */
	MESSAGE_SYNC,		/* R send the whole table, and changes from then on */
	MESSAGE_GRANT,		/* R */
	MESSAGE_REFUSE,		/* R */
	MESSAGE_LOST,		/* R */
	MESSAGE_ROLE,		/* R active or standby */
	MESSAGE_BARRIER,	/* R asks, T answers when all that it knew has been sent */
	MESSAGE_DIGEST,		/* T count and sum of what it holds and this router sees */
	MESSAGE_HEARTBEAT,	/* B */
	MESSAGE_GOODBYE,	/* B the last message, with the reason */
	MESSAGE_TYPES
};

enum wire_role { WIRE_TARGET = 1, WIRE_ROUTER = 2 };

/* Why a peer ends a session, or why an affinity ended: on the wire as these numbers. */
enum goodbye_reason {
	GOODBYE_STOPPING = 1, /* the daemon ends; what it has reported stays true */
	GOODBYE_LEAVING,      /* the target unloads: forget it */
	GOODBYE_VERSION,      /* unsupported version; the text names the sender's */
	GOODBYE_IDENTITY,     /* name, role or address are not those of the certificate */
	GOODBYE_DUPLICATE,    /* the name is in use by another node that lives */
	GOODBYE_MALFORMED,    /* a message could not be read */
	GOODBYE_REPLACED,     /* a newer session of this target has taken over */
	GOODBYE_FULL,	      /* no number left for another target */
	GOODBYE_RESYNC	      /* the digest differs: open a new session */
};

enum refuse_reason { REFUSE_HELD = 1, REFUSE_FULL, REFUSE_SERVICE };

/* A logical clock's reading and the node id of the router that gave it; the pair orders claims. */
struct term {
	uint64_t clock;
	uint64_t router;
};

struct message_hello {
	uint16_t version;	 /* spoken by the sender; the receiver refuses another */
	uint16_t role;		 /* enum wire_role */
	uint64_t node_id;	 /* random, kept in the state directory */
	uint64_t clock;		 /* highest logical clock seen */
	char name[NAME_SIZE];	 /* of the node, as in the certificate */
	struct address address;	 /* T: its tunnel address; R: outer source, IPv4, or zero */
	struct address address6; /* R: outer source, IPv6, or zero */
	uint64_t digest_key[2];	 /* T: for the sums of this session */
};

struct message_service {
	char name[NAME_SIZE];
	char scope[NAME_SIZE];
	struct service_key key;
	uint8_t affinity;      /* enum affinity_mode */
	uint8_t client_prefix; /* of 128 */
	uint8_t takeover;
	uint32_t idle_ms;
	uint32_t max_life_ms;
};

struct message_target {
	uint32_t weight;
	uint32_t instances; /* ready ones, whatever they serve; for display */
	bool draining;
	bool end_affinities; /* with draining: connections only */
	bool crowded;	     /* has connections that its table has no room for */
};

struct message_ready {
	struct service_key service;
	uint32_t instances;   /* ready ones */
	uint32_t draining;    /* that take clients with an affinity alone */
	uint32_t connections; /* established */
};

struct message_affinity {
	char scope[NAME_SIZE];
	struct address client;
	uint64_t id;	  /* of the request, at the target */
	struct term term; /* published; zero: a claim that waits to be granted */
	bool takeover;
};

struct message_affinity_end {
	char scope[NAME_SIZE];
	struct address client;
};

struct message_connection {
	struct service_key service;
	struct address client;
	__be16 client_port;
	uint8_t how; /* CONNECTION_END only: enum connection_end */
};

/* BEGIN and DONE. From a router: of its services, `number` counts up with each list, from 1. From a
 * target: of the table; `number` is that of the router's list which it covers. */
struct message_list {
	uint32_t number;
};

/* GRANT, LOST (term), REFUSE (reason). */
struct message_answer {
	char scope[NAME_SIZE];
	struct address client;
	uint64_t id; /* of the request that is answered; LOST: of the affinity that ends */
	struct term term;
	uint8_t reason; /* enum refuse_reason */
};

/* ROLE and BARRIER. */
struct message_role {
	uint32_t epoch;
	uint8_t role; /* enum role; ROLE only */
};

/* One sum for connections, one for affinities, over the entries of the services in the router's
 * list `services`. */
struct message_digest {
	uint32_t services; /* number of that list */
	uint64_t connections;
	uint64_t connections_sum;
	uint64_t affinities;
	uint64_t affinities_sum;
};

struct message_heartbeat {
	uint64_t clock;
	uint64_t probe_small; /* T: sequence of the last path probe of each size that has arrived
				 from this router */
	uint64_t probe_full;
};

struct message_goodbye {
	uint16_t reason; /* enum goodbye_reason */
	char text[256];	 /* one line for the log */
};

struct message {
	uint8_t type; /* enum message_type */
	union {
		struct message_hello hello;
		struct message_service service;
		struct message_target target;
		struct message_ready ready;
		struct message_affinity affinity;
		struct message_affinity_end affinity_end;
		struct message_connection connection; /* CONNECTION, CONNECTION_END */
		struct message_list list;	      /* BEGIN, DONE */
		struct message_answer answer;	      /* GRANT, REFUSE, LOST */
		struct message_role role;	      /* ROLE, BARRIER */
		struct message_digest digest;
		struct message_heartbeat heartbeat;
		struct message_goodbye goodbye;
	};
};

#endif
