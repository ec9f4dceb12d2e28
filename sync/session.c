/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "log.h"
#include "tls.h"

#define TICK_MS	     250
#define HANDSHAKE_MS 5000 /* connect, TLS and HELLO together */
#define GOODBYE_MS                                                                                 \
	1000	       /* for what is unsent and GOODBYE, and then again for the peer to read it   \
			*/
#define LATE_MS	  1000 /* a tick later than this: this process stood still, not the peer */
#define INPUT_MAX (2 * 65536)
#define QUEUE_MAX (8 * 1024 * 1024) /* of session_send, which does not wait for room */
#define LOWAT	  (64 * 1024)	    /* unsent bytes in the kernel */

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

static void session_free(struct session *session)
{
	session->agent->sessions--;
	if (session->stream)
		bufferevent_free(session->stream);
	if (session->tick)
		event_free(session->tick);
	if (session->pump)
		event_free(session->pump);
	if (session->finish)
		event_free(session->finish);
	free(session);
}

/* Callbacks may drop the session that they are called for. */
static void enter(struct session *session)
{
	session->calls++;
}

static void leave(struct session *session)
{
	if (--session->calls == 0 && session->dropped)
		session_free(session);
}

static void set_text(struct session *session, enum goodbye_reason reason, const char *text)
{
	session->reason = reason;
	snprintf(session->text, sizeof(session->text), "%s", text ? text : reason_text(reason));
	for (char *c = session->text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* No more words: `closed` is called from the event loop. */
static void closing(struct session *session)
{
	if (session->state == SESSION_CLOSED)
		return;
	session->state = SESSION_CLOSED;
	bufferevent_disable(session->stream, EV_READ | EV_WRITE);
	event_active(session->finish, EV_TIMEOUT, 0);
}

static void lost(struct session *session, enum goodbye_reason reason, const char *text)
{
	if (session->state < SESSION_ENDING)
		set_text(session, reason, text);
	closing(session);
}

static void on_finish(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	enter(session);
	session->ops->closed(session->context, session, session->reason, session->text);
	session->dropped = true;
	leave(session);
}

/* ------------------------------------------------------------------------------------------------
 * out */

static void write_message(struct session *session, const struct message *message)
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

static size_t unsent(const struct session *session)
{
	return evbuffer_get_length(bufferevent_get_output(session->stream));
}

static void on_pump(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;
	struct message message;

	(void)fd;
	(void)what;
	if (!session->ops->more)
		return;
	enter(session);
	while (!session->dropped && session->state == SESSION_OPEN &&
	       unsent(session) < SESSION_UNSENT_MAX &&
	       session->ops->more(session->context, session, &message)) {
		if (session->dropped || session->state != SESSION_OPEN)
			break;
		write_message(session, &message);
	}
	leave(session);
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
	write_message(session, message);
	if (unsent(session) > QUEUE_MAX)
		lost(session, 0, "it does not read what it is sent");
}

/* Everything is with the kernel. Closing now, with bytes of the peer unread, would send a RST that
 * overtakes GOODBYE: wait for the peer to close, and read away what still comes. */
static void begin_linger(struct session *session)
{
	SSL *ssl = bufferevent_openssl_get_ssl(session->stream);

	session->state = SESSION_LINGER;
	session->deadline_ms = agent_now_ms() + GOODBYE_MS;
	SSL_shutdown(ssl);
	ERR_clear_error();
	shutdown(bufferevent_getfd(session->stream), SHUT_WR);
}

static void on_write(struct bufferevent *stream, void *context)
{
	struct session *session = context;

	(void)stream;
	if (session->state == SESSION_ENDING && unsent(session) == 0)
		begin_linger(session);
	else if (session->state == SESSION_OPEN)
		on_pump(-1, 0, session);
}

void session_end(struct session *session, enum goodbye_reason reason, const char *text)
{
	struct message goodbye = {.type = MESSAGE_GOODBYE};

	if (session->state >= SESSION_ENDING)
		return;
	set_text(session, reason, text);
	if (session->state == SESSION_HANDSHAKE) {
		closing(session);
		return;
	}
	goodbye.goodbye.reason = reason;
	snprintf(goodbye.goodbye.text, sizeof(goodbye.goodbye.text), "%s", session->text);
	session->state = SESSION_ENDING;
	session->deadline_ms = agent_now_ms() + GOODBYE_MS;
	bufferevent_setwatermark(session->stream, EV_WRITE, 0, 0);
	write_message(session, &goodbye);
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

void sessions_flush(struct agent *agent)
{
	uint64_t limit = agent_now_ms() + GOODBYE_MS;
	const struct timeval soon = {0, TICK_MS * 1000};

	while (agent->sessions && agent_now_ms() < limit) {
		event_base_loopexit(agent->base, &soon);
		event_base_loop(agent->base, EVLOOP_ONCE);
	}
}

void session_drop(struct session *session)
{
	session->dropped = true;
	if (session->calls == 0)
		session_free(session);
}

/* ------------------------------------------------------------------------------------------------
 * in */

static void refuse(struct session *session, enum goodbye_reason reason, const char *text)
{
	log_warning("session: refused %s: %s", session->label, text);
	session_end(session, reason, text);
}

static void set_label(struct session *session, const char *name)
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
	set_label(session, hello->name);
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
		lost(session, message->goodbye.reason, text);
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

static void on_read(struct bufferevent *stream, void *context)
{
	struct evbuffer *input = bufferevent_get_input(stream);
	struct session *session = context;

	session->heard_ms = agent_now_ms();
	enter(session);
	while (!session->dropped &&
	       (session->state == SESSION_HELLO || session->state == SESSION_OPEN))
		if (!take_frame(session, input))
			break;
	if (!session->dropped && session->state >= SESSION_ENDING)
		evbuffer_drain(input, evbuffer_get_length(input));
	leave(session);
}

/* ------------------------------------------------------------------------------------------------
 * events */

static void on_established(struct session *session)
{
	struct message hello = {.type = MESSAGE_HELLO, .hello = session->ours};
	struct sockaddr_storage socket = {};
	socklen_t length = sizeof(socket);
	__be16 port;

	if (session->state != SESSION_HANDSHAKE)
		return;
	if (!getsockname(bufferevent_getfd(session->stream), (struct sockaddr *)&socket, &length))
		address_from_socket((struct sockaddr *)&socket, &session->local, &port);
	session->state = SESSION_HELLO;
	session->heard_ms = agent_now_ms();
	write_message(session, &hello);
}

/* Who closes or resets is there: the agent has ended, its node has not. Else the path is broken. */
static bool node_lives(short what, int number)
{
	return (what & BEV_EVENT_EOF) || number == 0 || number == ECONNRESET || number == EPIPE;
}

/* libevent puts SSL_get_error()'s small numbers among the errors: these belong to no library. */
static unsigned long tls_error(struct bufferevent *stream)
{
	unsigned long error;

	while ((error = bufferevent_get_openssl_error(stream)))
		if (ERR_GET_LIB(error) && !ERR_SYSTEM_ERROR(error) &&
		    ERR_GET_REASON(error) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return error;
	return 0;
}

static void on_failure(struct session *session, short what)
{
	int number = EVUTIL_SOCKET_ERROR();
	unsigned long error = tls_error(session->stream);
	long verified = SSL_get_verify_result(bufferevent_openssl_get_ssl(session->stream));
	const char *why = "the connection was closed";
	char text[200];

	if (verified != X509_V_OK)
		why = X509_verify_cert_error_string(verified);
	else if (error)
		why = ERR_reason_error_string(error);
	else if ((what & BEV_EVENT_ERROR) && number)
		why = strerror(number);
	snprintf(text, sizeof(text), "%s%s", verified != X509_V_OK ? "its certificate: " : "",
		 why ? why : "TLS error");
	/* Before HELLO a TLS error is a refusal, by either side; else nobody was there. */
	if (session->state <= SESSION_HELLO && (verified != X509_V_OK || error))
		log_warning("session: no session with %s: %s; check both nodes' certificates",
			    session->label, text);
	lost(session,
	     session->state == SESSION_OPEN && node_lives(what, number) ? GOODBYE_STOPPING : 0,
	     text);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
	struct session *session = context;

	(void)stream;
	if (what & BEV_EVENT_CONNECTED)
		on_established(session);
	else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		on_failure(session, what);
}

static void send_heartbeat(struct session *session)
{
	struct message message = {.type = MESSAGE_HEARTBEAT};

	/* Behind a full buffer it would say nothing: every byte is a heartbeat. */
	if (unsent(session) >= SESSION_UNSENT_MAX)
		return;
	if (session->ops->heartbeat)
		session->ops->heartbeat(session->context, session, &message.heartbeat);
	write_message(session, &message);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;
	uint64_t now = agent_now_ms();
	bool late = now - session->ticked_ms > LATE_MS;

	(void)fd;
	(void)what;
	session->ticked_ms = now;
	session->odd_tick = !session->odd_tick;
	if (session->state == SESSION_ENDING && unsent(session) == 0) {
		begin_linger(session);
		return;
	}
	if (session->state != SESSION_OPEN) {
		if (now >= session->deadline_ms)
			lost(session, 0, "the handshake took longer than 5 s");
		return;
	}
	if (late) /* what has come meanwhile is not read yet */
		session->heard_ms = now;
	if (now - session->heard_ms > SESSION_SILENCE_MS) {
		lost(session, 0, "silent for 2 s");
		return;
	}
	enter(session);
	if (session->odd_tick)
		send_heartbeat(session);
	leave(session);
}

/* ------------------------------------------------------------------------------------------------
 * life */

static void set_options(int fd)
{
	int one = 1, timeout = HANDSHAKE_MS, low = LOWAT;

	/* Not a TCP socket in tests: then these do not apply. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low, sizeof(low));
}

static int start_events(struct session *session)
{
	const struct timeval tick = {0, TICK_MS * 1000};

	session->tick = event_new(session->agent->base, -1, EV_PERSIST, on_tick, session);
	session->pump = event_new(session->agent->base, -1, 0, on_pump, session);
	session->finish = event_new(session->agent->base, -1, 0, on_finish, session);
	if (!session->tick || !session->pump || !session->finish)
		return -ENOMEM;
	return event_add(session->tick, &tick) ? -ENOMEM : 0;
}

/* Takes fd, also when it fails. */
static struct session *session_new(struct agent *agent, int fd, bool accepts,
				   const struct message_hello *hello, const struct session_ops *ops,
				   void *context)
{
	struct session *session = calloc(1, sizeof(*session));
	SSL *ssl = tls_new(agent->tls, accepts);

	if (!session || !ssl)
		goto out;
	session->agent = agent;
	agent->sessions++;
	session->ops = ops;
	session->context = context;
	session->ours = *hello;
	session->ticked_ms = session->heard_ms = agent_now_ms();
	session->deadline_ms = session->ticked_ms + HANDSHAKE_MS;
	set_options(fd);
	session->stream = bufferevent_openssl_socket_new(
		agent->base, fd, ssl,
		accepts ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING,
		BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!session->stream) {
		agent->sessions--;
		goto out;
	}
	if (start_events(session)) {
		session_free(session);
		return NULL;
	}
	bufferevent_setcb(session->stream, on_read, on_write, on_event, session);
	bufferevent_setwatermark(session->stream, EV_READ, 0, INPUT_MAX);
	bufferevent_enable(session->stream, EV_READ | EV_WRITE);
	return session;
out:
	log_error("session: not begun: %s", strerror(ENOMEM));
	SSL_free(ssl);
	free(session);
	close(fd);
	return NULL;
}

struct session *session_accept(struct agent *agent, int fd, const struct message_hello *hello,
			       const struct session_ops *ops, void *context)
{
	struct session *session;

	evutil_make_socket_nonblocking(fd);
	session = session_new(agent, fd, true, hello, ops, context);
	if (session) {
		struct sockaddr_storage socket = {};
		socklen_t length = sizeof(socket);

		if (!getpeername(fd, (struct sockaddr *)&socket, &length) &&
		    socket.ss_family != AF_UNIX)
			address_from_socket((struct sockaddr *)&socket, &session->peer,
					    &session->peer_port);
		set_label(session, NULL);
	}
	return session;
}

/* A socket on its way to address:port, or -errno. */
static int open_socket(const struct address *address, __be16 port, const struct address *source)
{
	struct sockaddr_storage to, from;
	socklen_t length = address_to_socket(address, port, &to);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error, one = 1;

	if (fd < 0)
		return -errno;
	if (source && !address_is_zero(source)) {
		socklen_t size = address_to_socket(source, 0, &from);

		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&from, size))
			goto out;
	}
	if (!connect(fd, (struct sockaddr *)&to, length) || errno == EINPROGRESS)
		return fd;
out:
	error = errno;
	close(fd);
	return -error;
}

struct session *session_connect(struct agent *agent, const struct address *address, __be16 port,
				const struct address *source, const struct message_hello *hello,
				const struct session_ops *ops, void *context)
{
	struct session *session;
	int fd = open_socket(address, port, source);

	if (fd < 0) {
		char text[ADDRESS_TEXT];

		log_warning("session: cannot connect to %s: %s",
			    endpoint_format(address, port, text), strerror(-fd));
		return NULL;
	}
	session = session_new(agent, fd, false, hello, ops, context);
	if (session) {
		session->peer = *address;
		session->peer_port = port;
		set_label(session, NULL);
	}
	return session;
}

void session_set_context(struct session *session, void *context)
{
	session->context = context;
}

const struct address *session_peer_address(const struct session *session)
{
	return &session->peer;
}

const struct address *session_local_address(const struct session *session)
{
	return &session->local;
}

const char *session_peer_name(const struct session *session)
{
	return session->peer_name;
}

bool session_certificate_has(const struct session *session, const struct address *address)
{
	return tls_peer_has_address(bufferevent_openssl_get_ssl(session->stream), address);
}

uint64_t session_last_heard_ms(const struct session *session)
{
	return session->heard_ms;
}
