/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session.h - one session of a target with a router: TLS 1.3 with certificates on both sides,
 * frames, HELLO, heartbeats, backpressure (docs/PROTOCOL.md). Knows nothing of the CRHT.
 *
 * After the TLS handshake both ends send HELLO; `hello` is called once the peer's has been read and
 * its name and role are those of its certificate ("limpet:target/NAME" or "limpet:router/NAME"
 * among the URI subject alternative names), and its version is ours. A peer that is refused gets
 * GOODBYE with the reason, and a line in the log names it.
 */
#ifndef LIMPET_SESSION_H
#define LIMPET_SESSION_H

#include "agent.h"

#define SESSION_UNSENT_MAX                                                                         \
	(256 * 1024) /* bytes; `more` is not asked while more wait to be written */
#define SESSION_HEARTBEAT_MS 500
#define SESSION_SILENCE_MS   2000

struct session;

struct session_ops {
	/* The peer is who it says. 0: go on; else refuse it for this reason (enum goodbye_reason,
	 * positive). It may also have called session_end, with words of its own, and return 0. */
	int (*hello)(void *context, struct session *session, const struct message_hello *hello);
	/* Any later message but HEARTBEAT's bookkeeping: 0 or -EPROTO. HEARTBEAT is passed on too.
	 */
	int (*message)(void *context, struct session *session, const struct message *message);
	/* Next message to write, while there is room; false: nothing now (session_wake when there
	 * is). May be NULL. */
	bool (*more)(void *context, struct session *session, struct message *message);
	/* Fill in the clock and probes of a heartbeat about to be sent. */
	void (*heartbeat)(void *context, struct session *session,
			  struct message_heartbeat *heartbeat);
	/* The session has ended; it is freed after this returns. reason 0: without a word, the peer
	 * was silent; GOODBYE_STOPPING also when the peer's kernel has closed or reset an open
	 * session: its agent has died, its node has not. Else it is the peer's GOODBYE or our own,
	 * whichever came first. A refusal (certificate, HELLO, message) has been logged; how a
	 * session ended otherwise is in `text`, for the owner to log. */
	void (*closed)(void *context, struct session *session, enum goodbye_reason reason,
		       const char *text);
};

/* Certificates from the configuration: NULL with a line in the log. */
struct tls_context *tls_context_new(const struct config *config);
void tls_context_free(struct tls_context *tls);

/* A connection that was accepted (router) or is to be opened (target). `hello` is what we say; role
 * WIRE_ROUTER or WIRE_TARGET tells which end we are. The context is the caller's. `source` is ours,
 * if it is of the address's family (else the certificate must show it). NULL with a line in the
 * log. */
struct session *session_accept(struct agent *agent, int fd, const struct message_hello *hello,
			       const struct session_ops *ops, void *context);
struct session *session_connect(struct agent *agent, const struct address *address, __be16 port,
				const struct address *source, const struct message_hello *hello,
				const struct session_ops *ops, void *context);

void session_set_context(struct session *session, void *context);
void session_send(struct session *session, const struct message *message);
void session_wake(struct session *session);
/* Say GOODBYE, flush what fits, close; `closed` is called, from the event loop, not from within. */
void session_end(struct session *session, enum goodbye_reason reason, const char *text);
/* The same for an owner that goes: it is called no more, and may not use the session any more. */
void session_leave(struct session *session, enum goodbye_reason reason, const char *text);
/* Run the loop until every GOODBYE has been read, at most 1 s; when the daemon ends. */
void sessions_flush(struct agent *agent);
/* Forget it at once and unread what it has sent, without `closed`. */
void session_drop(struct session *session);

const struct address *session_peer_address(const struct session *session);
const struct address *session_local_address(const struct session *session);
const char *
session_peer_name(const struct session *session); /* "t1", or the address before HELLO */
/* Is this address among the IP subject alternative names of the peer's certificate? */
bool session_certificate_has(const struct session *session, const struct address *address);
uint64_t session_last_heard_ms(const struct session *session);

#endif
