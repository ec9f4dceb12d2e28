/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limpet.h - ask that a client come back to this very process.
 *
 * An application that has accepted a connection of a Limpet service may ask for an affinity of that
 * connection's client to itself: from then on every new connection of that client, in the scope of
 * the service, reaches the process that asked, until the affinity ends (for what reasons: enum
 * limpet_affinity_reason). US patent 7,562,145 B2, claim 1.
 *
 * Any process may call these on a connection that it has accepted, whatever its user. They are
 * thread-safe, keep no state, allocate nothing and never print. Each returns 0 or a negative errno;
 * where no Limpet serves the connection's node they return -ENOPROTOOPT, so an application can
 * carry them everywhere.
 *
 * The same without this library, from any language: setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY,
 * &options, sizeof options) asks, getsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY, &status, &length)
 * tells, setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &zero, sizeof (int)) releases. All
 * members are in the host's byte order.
 */
#ifndef LIMPET_H
#define LIMPET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOL_LIMPET		7562
#define LIMPET_AFFINITY		1
#define LIMPET_AFFINITY_RELEASE 2

#define LIMPET_AFFINITY_TAKEOVER                                                                   \
	0x1u /* displace another instance's affinity, where the service allows it */

#define LIMPET_IDLE_DEFAULT 0xffffffffu /* the service's affinity_idle */

/* What is asked for. LIMPET_AFFINITY_OPTIONS_INIT is what a NULL pointer means: the service's own
 * rules. */
struct limpet_affinity_options {
	uint32_t size;	  /* sizeof(struct limpet_affinity_options): setsockopt's length; more is
			     accepted as long as it is zero */
	uint32_t flags;	  /* LIMPET_AFFINITY_TAKEOVER or 0 */
	uint32_t idle_ms; /* ends this long after the client's last connection has closed; 0: with
			     it */
	uint32_t max_life_ms; /* ends this long after this request at the latest; 0: no limit but
				 the service's affinity_max_life, if it has one. That one is never
				 exceeded: it counts from the instance's first request, and asking
				 again while the affinity is in force does not begin it anew */
};

#define LIMPET_AFFINITY_OPTIONS_INIT                                                               \
	{                                                                                          \
		sizeof(struct limpet_affinity_options), 0, LIMPET_IDLE_DEFAULT, 0                  \
	}

enum limpet_affinity_state {
	LIMPET_AFFINITY_NONE =
		0, /* this client has no affinity to this instance; `reason` says why it ended */
	LIMPET_AFFINITY_HERE = 1,	/* in force for connections that reach this node */
	LIMPET_AFFINITY_EVERYWHERE = 2, /* in force through every router */
};

enum limpet_affinity_reason {
	LIMPET_REASON_NONE = 0,
	LIMPET_REASON_RELEASED = 1, /* by the application */
	LIMPET_REASON_OPERATOR = 2, /* by the operator */
	LIMPET_REASON_EXPIRED = 3,  /* idle too long, or its maximum life is over */
	LIMPET_REASON_INSTANCE = 4, /* the instance's listener is closed */
	LIMPET_REASON_PROCESS = 5,  /* the process that asked has exited */
	LIMPET_REASON_REFUSED = 6,  /* another target holds the client */
	LIMPET_REASON_FULL = 7,	    /* a router has no room */
	LIMPET_REASON_LOST = 8,	    /* another instance, here or elsewhere, has the client */
	LIMPET_REASON_SHARED = 9,   /* several processes accept on the listener */
	LIMPET_REASON_SERVICE = 10, /* the service is no longer served here */
};

struct limpet_affinity_status {
	uint32_t size; /* sizeof(struct limpet_affinity_status), set by the caller for getsockopt */
	uint32_t state;	      /* enum limpet_affinity_state */
	uint32_t reason;      /* enum limpet_affinity_reason, while state is LIMPET_AFFINITY_NONE */
	uint32_t connections; /* of this client to this instance, in the scope */
	uint64_t id;	      /* of the affinity, unique on this target */
	uint64_t instance;    /* of the instance, as `limpet show instances` prints it */
	uint64_t expires_in_ms; /* UINT64_MAX: not while the client is connected */
	uint64_t age_ms;	/* since the first request; asking again does not begin it anew */
};

/*
 * limpet_affinity_request - ask for an affinity of conn's client to this instance
 * @conn: a connection that this process has accepted (established, or half closed by the client)
 * @options: what is asked for; NULL: the service's own rules
 *
 * When it returns 0 the affinity is in force on this node. Asking again from the same instance
 * updates it: the idle time and the maximum life are then as in the last request.
 *
 * Returns 0 or
 *   -EPERM       conn is no connection of a service's instance: a listener, reset, a client's own;
 *                or the table of connections had no room for it; or the instance's listener is
 *                closed
 *   -EEXIST      another instance of this node holds the client (see LIMPET_AFFINITY_TAKEOVER)
 *   -EOPNOTSUPP  several processes accept on conn's listener, or the service has no affinity
 *   -ENOSPC      the table of affinities is full, or the instance's quota is reached
 *   -EINVAL      options are malformed
 *   -EAGAIN      the client's previous affinity is just being removed, or it has not completed its
 *                handshake yet (TCP Fast Open): ask again
 *   -ENOPROTOOPT Limpet is not loaded here
 *   -EBADF, -ENOTSOCK
 */
int limpet_affinity_request(int conn, const struct limpet_affinity_options *options);

/*
 * limpet_affinity_wait - wait until the affinity of conn's client is in force everywhere
 * @timeout_ms: at most this long, in milliseconds; negative: no limit
 *
 * Returns 0, or -EEXIST (another instance holds the client), -ENOSPC (a router is full),
 * -ETIMEDOUT, -ENOENT (it has ended otherwise, or none was asked for: limpet_affinity_status
 * tells), or the errors of limpet_affinity_request.
 */
int limpet_affinity_wait(int conn, int timeout_ms);

/* limpet_affinity_status - what holds now for conn's client at this instance; errors as above. */
int limpet_affinity_status(int conn, struct limpet_affinity_status *status);

/* limpet_affinity_release - end the affinity of conn's client to this instance; -ENOENT if there is
 * none. */
int limpet_affinity_release(int conn);

#ifdef __cplusplus
}
#endif

#endif
