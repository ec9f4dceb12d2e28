/* SPDX-License-Identifier: BSD-2-Clause */
/* session.c - a session's life: how it begins and ends, what happens to it, its time. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "session_internal.h"
#include "tls.h"

#define TICK_MS	     250
#define HANDSHAKE_MS 5000 /* connect, TLS and HELLO together */
#define LATE_MS	     1000 /* a tick later than this: this process stood still, not the peer */
#define INPUT_MAX    (2 * 65536)
#define LOWAT	     (64 * 1024) /* unsent bytes in the kernel */

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
void session_enter(struct session *session)
{
	session->calls++;
}

void session_exit(struct session *session)
{
	if (--session->calls == 0 && session->dropped)
		session_free(session);
}

/* No more words: `closed` is called from the event loop. */
void session_closing(struct session *session)
{
	if (session->state == SESSION_CLOSED)
		return;
	session->state = SESSION_CLOSED;
	bufferevent_disable(session->stream, EV_READ | EV_WRITE);
	event_active(session->finish, EV_TIMEOUT, 0);
}

void session_lost(struct session *session, enum goodbye_reason reason, const char *text)
{
	if (session->state < SESSION_ENDING)
		session_set_text(session, reason, text);
	session_closing(session);
}

static void on_finish(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	session_enter(session);
	session->ops->closed(session->context, session, session->reason, session->text);
	session->dropped = true;
	session_exit(session);
}

void sessions_flush(struct agent *agent)
{
	uint64_t limit = agent_now_ms() + SESSION_GOODBYE_MS;
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
	session_write(session, &hello);
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
	snprintf(text, sizeof(text), "%s%s%s", verified != X509_V_OK ? "its certificate: " : "",
		 why ? why : "TLS error",
		 verified != X509_V_OK || error ? "; check both nodes' certificates" : "");
	/* Before HELLO a TLS error is a refusal, by either side; else nobody was there. */
	if (session->state <= SESSION_HELLO && (verified != X509_V_OK || error))
		session_log_refusal(session, "no session with", text);
	session_lost(session,
		     session->state == SESSION_OPEN && node_lives(what, number) ? GOODBYE_STOPPING
										: 0,
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
	if (session_unsent(session) >= SESSION_UNSENT_MAX)
		return;
	if (session->ops->heartbeat)
		session->ops->heartbeat(session->context, session, &message.heartbeat);
	session_write(session, &message);
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
	if (session->state == SESSION_ENDING && session_unsent(session) == 0) {
		session_linger(session);
		return;
	}
	if (session->state != SESSION_OPEN) {
		if (now >= session->deadline_ms)
			session_lost(session, 0, "the handshake took longer than 5 s");
		return;
	}
	if (late) /* what has come meanwhile is not read yet */
		session->heard_ms = now;
	if (now - session->heard_ms > SESSION_SILENCE_MS) {
		session_lost(session, 0, "silent for 2 s");
		return;
	}
	session_enter(session);
	if (session->odd_tick)
		send_heartbeat(session);
	session_exit(session);
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

static void on_pump(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	session_pump(context);
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
	bufferevent_setcb(session->stream, session_on_read, session_on_write, on_event, session);
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
		session_set_label(session, NULL);
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
	if (source && !address_is_zero(source) &&
	    address_is_ipv4(source) == address_is_ipv4(address)) {
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
		session_set_label(session, NULL);
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
