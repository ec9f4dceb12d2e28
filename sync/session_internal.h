/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session_internal.h - what the files of a session share: session.c (its life, events and time),
 * session_stream.c (what is written and read). The interface is session.h.
 */
#ifndef LIMPET_SESSION_INTERNAL_H
#define LIMPET_SESSION_INTERNAL_H

#include "session.h"

#define SESSION_GOODBYE_MS                                                                         \
	1000 /* for what is unsent and GOODBYE, and again for the peer to read it */

struct bufferevent;

enum session_state {
	SESSION_HANDSHAKE, /* TCP and TLS */
	SESSION_HELLO,	   /* ours is sent, the peer's awaited */
	SESSION_OPEN,
	SESSION_ENDING, /* GOODBYE is being written */
	SESSION_LINGER, /* all is written: until the peer has read it and closes */
	SESSION_CLOSED	/* `closed` is to be called */
};

struct session {
	struct agent *agent;
	const struct session_ops *ops;
	void *context;
	struct bufferevent *stream;
	struct event *tick, *pump, *finish;
	enum session_state state;
	struct message_hello ours;
	struct address peer, local;
	__be16 peer_port;
	char peer_name[ADDRESS_TEXT]; /* its address, from HELLO on its name */
	char label[NAME_SIZE + ADDRESS_TEXT + 8];
	uint64_t deadline_ms; /* of handshake, goodbye, linger */
	uint64_t heard_ms, ticked_ms;
	bool odd_tick;
	enum goodbye_reason reason;
	char text[256];
	unsigned int calls; /* how deep in callbacks: it is freed when the last has returned */
	bool dropped;
};

/* session.c */
/* Callbacks may drop the session that they are called for: it lives until the last has returned. */
void session_enter(struct session *session);
void session_exit(struct session *session);
/* No more words: `closed` is called from the event loop. */
void session_closing(struct session *session);
/* The same, with the reason, unless one was given before. */
void session_lost(struct session *session, enum goodbye_reason reason, const char *text);

/* session_stream.c */
/* "session: WHAT PEER: TEXT", at most 20 in 10 s. */
void session_log_refusal(struct session *session, const char *what, const char *text);
void session_set_label(struct session *session, const char *name);
void session_set_text(struct session *session, enum goodbye_reason reason, const char *text);
size_t session_unsent(const struct session *session);
void session_write(struct session *session, const struct message *message);
/* All is written, GOODBYE last. */
void session_linger(struct session *session);
/* Ask the owner for messages while there is room. */
void session_pump(struct session *session);
void session_on_write(struct bufferevent *stream, void *context);
void session_on_read(struct bufferevent *stream, void *context);

#endif
