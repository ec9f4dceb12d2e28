/* SPDX-License-Identifier: BSD-2-Clause */
/* session_stream.c - the messages of a session: HELLO first, GOODBYE last, frames in between. */
#include <ctype.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "codec.h"
#include "log.h"
#include "session_internal.h"
#include "tls.h"

/* Strangers may knock as often as they like, but not fill the disk with what is logged of them. */
#define REFUSALS    20
#define REFUSALS_MS 10000
#define QUEUE_MAX   (8 * 1024 * 1024) /* of session_send, which does not wait for room */

static const char *reason_text(int reason)
{
	static const char *const texts[] = {
		[GOODBYE_STOPPING] = "its agent stops",
		[GOODBYE_LEAVING] = "the target leaves",
		[GOODBYE_VERSION] = "unsupported protocol version",
		[GOODBYE_IDENTITY] = "name, role or address are not those of the certificate",
		[GOODBYE_DUPLICATE] = "the name is in use by another node that lives",
		[GOODBYE_MALFORMED] = "a message could not be read",
		[GOODBYE_REPLACED] = "a newer session has taken over",
		[GOODBYE_FULL] = "no number left for another target",
		[GOODBYE_RESYNC] = "the digest differs",
	};

	if (reason < 1 || reason >= (int)(sizeof(texts) / sizeof(*texts)) || !texts[reason])
		return "unknown reason";
	return texts[reason];
}

void session_set_text(struct session *session, enum goodbye_reason reason, const char *text)
{
	session->reason = reason;
	snprintf(session->text, sizeof(session->text), "%s", text ? text : reason_text(reason));
	for (char *c = session->text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* ------------------------------------------------------------------------------------------------
 * out */

void session_write(struct session *session, const struct message *message)
{
	uint8_t frame[WIRE_HEADER + WIRE_MAX_PAYLOAD];
	ssize_t length = message_encode(message, frame, sizeof(frame));

	if (length < 0) {
		log_error("session with %s: %s could not be written: %s", session->label,
			  message_name(message->type), strerror((int)-length));
		return;
	}
	evbuffer_add(bufferevent_get_output(session->stream), frame, (size_t)length);
}

size_t session_unsent(const struct session *session)
{
	return evbuffer_get_length(bufferevent_get_output(session->stream));
}

void session_pump(struct session *session)
{
	struct message message;

	if (!session->ops->more)
		return;
	session_enter(session);
	while (!session->dropped && session->state == SESSION_OPEN &&
	       session_unsent(session) < SESSION_UNSENT_MAX &&
	       session->ops->more(session->context, session, &message)) {
		if (session->dropped || session->state != SESSION_OPEN)
			break;
		session_write(session, &message);
	}
	session_exit(session);
}

void session_wake(struct session *session)
{
	if (session->state == SESSION_OPEN)
		event_active(session->pump, EV_TIMEOUT, 0);
}

void session_send(struct session *session, const struct message *message)
{
	if (session->state != SESSION_OPEN)
		return;
	session_write(session, message);
	if (session_unsent(session) > QUEUE_MAX)
		session_lost(session, 0, "it does not read what it is sent");
}

/* Everything is with the kernel. Closing now, with bytes of the peer unread, would send a RST that
 * overtakes GOODBYE: wait for the peer to close, and read away what still comes. */
void session_linger(struct session *session)
{
	SSL *ssl = bufferevent_openssl_get_ssl(session->stream);

	session->state = SESSION_LINGER;
	session->deadline_ms = agent_now_ms() + SESSION_GOODBYE_MS;
	SSL_shutdown(ssl);
	ERR_clear_error();
	shutdown(bufferevent_getfd(session->stream), SHUT_WR);
}

void session_on_write(struct bufferevent *stream, void *context)
{
	struct session *session = context;

	(void)stream;
	if (session->state == SESSION_ENDING && session_unsent(session) == 0)
		session_linger(session);
	else if (session->state == SESSION_OPEN)
		session_pump(session);
}

void session_end(struct session *session, enum goodbye_reason reason, const char *text)
{
	struct message goodbye = {.type = MESSAGE_GOODBYE};

	if (session->state >= SESSION_ENDING)
		return;
	session_set_text(session, reason, text);
	if (session->state == SESSION_HANDSHAKE) {
		session_closing(session);
		return;
	}
	goodbye.goodbye.reason = reason;
	snprintf(goodbye.goodbye.text, sizeof(goodbye.goodbye.text), "%s", session->text);
	session->state = SESSION_ENDING;
	session->deadline_ms = agent_now_ms() + SESSION_GOODBYE_MS;
	bufferevent_setwatermark(session->stream, EV_WRITE, 0, 0);
	session_write(session, &goodbye);
}

static void nobody_closed(void *context, struct session *session, enum goodbye_reason reason,
			  const char *text)
{
	(void)context;
	(void)session;
	(void)reason;
	(void)text;
}

void session_leave(struct session *session, enum goodbye_reason reason, const char *text)
{
	static const struct session_ops nobody = {.closed = nobody_closed};

	session_end(session, reason, text);
	session->ops = &nobody;
	session->context = NULL;
}

/* ------------------------------------------------------------------------------------------------
 * in */

void session_log_refusal(struct session *session, const char *what, const char *text)
{
	static unsigned int logged, unlogged;
	static uint64_t since_ms;
	uint64_t now = agent_now_ms();

	if (now - since_ms > REFUSALS_MS) {
		if (unlogged)
			log_warning("session: %u more refusals were not logged", unlogged);
		since_ms = now;
		logged = unlogged = 0;
	}
	if (++logged > REFUSALS)
		unlogged++;
	else
		log_warning("session: %s %s: %s", what, session->label, text);
}

static void refuse(struct session *session, enum goodbye_reason reason, const char *text)
{
	session_log_refusal(session, "refused", text);
	session_end(session, reason, text);
}

void session_set_label(struct session *session, const char *name)
{
	char text[ADDRESS_TEXT];

	if (address_is_zero(&session->peer))
		snprintf(text, sizeof(text), "a local socket");
	else
		endpoint_format(&session->peer, session->peer_port, text);
	if (name)
		snprintf(session->label, sizeof(session->label), "%s at %s", name, text);
	else
		snprintf(session->label, sizeof(session->label), "%s", text);
	snprintf(session->peer_name, sizeof(session->peer_name), "%s", name ? name : text);
}

/* The first message: is the peer what its certificate says, and does it speak as we do? */
static void receive_hello(struct session *session, const struct message_hello *hello)
{
	enum wire_role expected = session->ours.role == WIRE_ROUTER ? WIRE_TARGET : WIRE_ROUTER;
	const SSL *ssl = bufferevent_openssl_get_ssl(session->stream);
	char text[200];
	int reason;

	if (hello->version != WIRE_VERSION) {
		snprintf(text, sizeof(text),
			 "it speaks protocol version %u, this node %u; install the same release "
			 "on both",
			 hello->version, WIRE_VERSION);
		refuse(session, GOODBYE_VERSION, text);
		return;
	}
	if (hello->role != expected) {
		snprintf(text, sizeof(text), "it is no %s; check its configuration",
			 tls_role_name(expected));
		refuse(session, GOODBYE_IDENTITY, text);
		return;
	}
	if (!tls_peer_is(ssl, expected, hello->name)) {
		snprintf(text, sizeof(text),
			 "it calls itself %s \"%.31s\", but its certificate does not carry "
			 "URI:limpet:%s/%.31s",
			 tls_role_name(expected), hello->name, tls_role_name(expected),
			 hello->name);
		refuse(session, GOODBYE_IDENTITY, text);
		return;
	}
	session_set_label(session, hello->name);
	session->state = SESSION_OPEN;
	bufferevent_setwatermark(session->stream, EV_WRITE, SESSION_UNSENT_MAX / 2, 0);
	reason = session->ops->hello(session->context, session, hello);
	if (session->dropped || session->state != SESSION_OPEN)
		return;
	if (reason > 0)
		refuse(session, reason, reason_text(reason));
	else
		session_wake(session);
}

static void receive(struct session *session, const struct message *message)
{
	if (message->type == MESSAGE_GOODBYE) {
		char text[sizeof(session->text)];

		snprintf(text, sizeof(text), "%.*s", (int)sizeof(message->goodbye.text) - 1,
			 message->goodbye.text);
		if (session->state == SESSION_HELLO)
			log_warning("session: %s refuses this node: %s", session->label, text);
		session_lost(session, message->goodbye.reason, text);
		return;
	}
	if ((session->state == SESSION_HELLO) != (message->type == MESSAGE_HELLO)) {
		refuse(session, GOODBYE_MALFORMED,
		       message->type == MESSAGE_HELLO ? "a second HELLO"
						      : "a message before HELLO");
		return;
	}
	if (message->type == MESSAGE_HELLO) {
		receive_hello(session, &message->hello);
		return;
	}
	if (session->ops->message(session->context, session, message) && !session->dropped &&
	    session->state == SESSION_OPEN) {
		char text[96];

		snprintf(text, sizeof(text), "%s is not allowed here, or names what is not its own",
			 message_name(message->type));
		refuse(session, GOODBYE_MALFORMED, text);
	}
}

/* Take one frame: false when there is none to take. */
static bool take_frame(struct session *session, struct evbuffer *input)
{
	size_t length = evbuffer_get_length(input), wanted = WIRE_HEADER;
	struct message message;
	const char *why = "";
	uint8_t header[2];
	ssize_t taken;

	if (length >= sizeof(header)) {
		evbuffer_copyout(input, header, sizeof(header));
		wanted += (size_t)header[0] << 8 | header[1];
	}
	if (wanted > length)
		wanted = length;
	if (wanted == 0)
		return false;
	taken = message_decode(evbuffer_pullup(input, (ev_ssize_t)wanted), wanted, &message, &why);
	if (taken == 0)
		return false;
	if (taken < 0) {
		char text[128];

		snprintf(text, sizeof(text), "a message that cannot be read: %s", why);
		refuse(session, GOODBYE_MALFORMED, text);
		return false;
	}
	evbuffer_drain(input, (size_t)taken);
	receive(session, &message);
	return true;
}

void session_on_read(struct bufferevent *stream, void *context)
{
	struct evbuffer *input = bufferevent_get_input(stream);
	struct session *session = context;

	session->heard_ms = agent_now_ms();
	session_enter(session);
	while (!session->dropped &&
	       (session->state == SESSION_HELLO || session->state == SESSION_OPEN))
		if (!take_frame(session, input))
			break;
	if (!session->dropped && session->state >= SESSION_ENDING)
		evbuffer_drain(input, evbuffer_get_length(input));
	session_exit(session);
}
