/* SPDX-License-Identifier: BSD-2-Clause */
/* router_sessions.c - targets connect, say who they are, and are handed to the mirror. */
#include <errno.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "router_internal.h"

#define WAITING_MAX 256 /* connections that have not said HELLO */

/* ------------------------------------------------------------------------------------------------
 * sessions */

static void peer_free(struct router_peer *peer)
{
	struct router_part *router = peer->router;

	if (peer->number == NO_NUMBER) {
		TAILQ_REMOVE(&router->waiting, peer, link);
		router->waiting_count--;
	} else if (router->peers[peer->number] == peer) {
		router->peers[peer->number] = NULL;
	}
	free(peer);
}

void router_mirror_send(void *context, uint16_t target, const struct message *message)
{
	struct router_part *router = context;
	struct router_peer *peer = router->joining ? router->joining : router->peers[target];

	if (peer)
		session_send(peer->session, message);
}

void router_mirror_end_session(void *context, uint16_t target, enum goodbye_reason reason,
			       const char *text)
{
	struct router_part *router = context;
	struct router_peer *peer = router->peers[target];

	if (!peer)
		return;
	log_info("target %s: its session ends: %s", session_peer_name(peer->session), text);
	session_leave(peer->session, reason, text);
	peer_free(peer);
	if (!router->joining)
		router_mirror_session_lost(router->mirror, target, reason, agent_now_ms());
}

/* Packets may be sent to an address only if the target has shown that it is its own. */
static bool may_have_address(const struct session *session, const struct address *address)
{
	return !address_is_zero(address) &&
	       (address_equal(address, session_peer_address(session)) ||
		session_certificate_has(session, address));
}

static void refuse_address(struct session *session, const struct address *claimed)
{
	char text[200], address[ADDRESS_TEXT], from[ADDRESS_TEXT];

	snprintf(text, sizeof(text),
		 "its address %s is neither where it connects from nor in its certificate",
		 address_format(claimed, address));
	log_warning("session: refused %s at %s: %s; correct target.address there, or the "
		    "certificate",
		    session_peer_name(session), address_format(session_peer_address(session), from),
		    text);
	session_end(session, GOODBYE_IDENTITY, text);
}

static int why_refused(const struct message_hello *hello, int error)
{
	switch (error) {
	case -EEXIST:
		return GOODBYE_DUPLICATE;
	case -EPROTO:
		log_warning("target %s: refused: its clock is further ahead than a clock can be",
			    hello->name);
		return GOODBYE_MALFORMED;
	default:
		return GOODBYE_FULL;
	}
}

static int on_hello(void *context, struct session *session, const struct message_hello *hello)
{
	struct router_peer *peer = context;
	struct router_part *router = peer->router;
	char text[ADDRESS_TEXT];
	int number;

	if (!may_have_address(session, &hello->address)) {
		refuse_address(session, &hello->address);
		return 0;
	}
	if (!router_source(router, &hello->address))
		log_warning("target %s: no packet can reach %s: give this node a router.address%s",
			    hello->name, address_format(&hello->address, text),
			    address_is_ipv4(&hello->address) ? " that is IPv4" : "6");
	router->joining = peer;
	number = router_mirror_session(router->mirror, hello, agent_now_ms());
	router->joining = NULL;
	if (number < 0)
		return why_refused(hello, number);
	TAILQ_REMOVE(&router->waiting, peer, link);
	router->waiting_count--;
	peer->number = (uint16_t)number;
	router->peers[number] = peer;
	router->forwards[number].opened = router->probe_sequence;
	router->forwards[number].path = PATH_UNKNOWN;
	log_info("target %s at %s: session open", hello->name,
		 address_format(&hello->address, text));
	router_target_changed(router, peer->number);
	return 0;
}

static int on_message(void *context, struct session *session, const struct message *message)
{
	struct router_peer *peer = context;
	int error =
		router_mirror_receive(peer->router->mirror, peer->number, message, agent_now_ms());

	(void)session;
	if (!error && message->type == MESSAGE_HEARTBEAT)
		router_judge_path(peer->router, peer->number);
	return error;
}

static void on_heartbeat(void *context, struct session *session,
			 struct message_heartbeat *heartbeat)
{
	struct router_peer *peer = context;

	(void)session;
	heartbeat->clock = router_mirror_clock(peer->router->mirror);
}

static void on_closed(void *context, struct session *session, enum goodbye_reason reason,
		      const char *text)
{
	struct router_peer *peer = context;
	struct router_part *router = peer->router;
	uint16_t number = peer->number;

	if (number == NO_NUMBER)
		log_debug("session with %s: closed: %s", session_peer_name(session), text);
	else
		log_info("target %s: session closed: %s", session_peer_name(session), text);
	peer_free(peer);
	if (number != NO_NUMBER)
		router_mirror_session_lost(router->mirror, number, reason, agent_now_ms());
}

static const struct session_ops ops = {
	.hello = on_hello,
	.message = on_message,
	.heartbeat = on_heartbeat,
	.closed = on_closed,
};

/* ------------------------------------------------------------------------------------------------
 * the listening socket */

static void say_hello(const struct router_part *router, struct message_hello *hello)
{
	memset(hello, 0, sizeof(*hello));
	hello->version = WIRE_VERSION;
	hello->role = WIRE_ROUTER;
	hello->node_id = router->agent->node_id;
	hello->clock = router_mirror_clock(router->mirror);
	snprintf(hello->name, sizeof(hello->name), "%s", router->agent->config->node);
	hello->address = router->source4;
	hello->address6 = router->source6;
}

/* Who has waited longest has nothing to say: an honest target says HELLO within milliseconds, so
 * strangers who open connections and keep silent do not keep it out. */
static void make_room(struct router_part *router)
{
	struct router_peer *peer = TAILQ_FIRST(&router->waiting);

	log_debug("session with %s: dropped: %u connections wait without HELLO",
		  session_peer_name(peer->session), router->waiting_count);
	session_drop(peer->session);
	peer_free(peer);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
		      int length, void *context)
{
	struct router_part *router = context;
	struct router_peer *peer;
	struct message_hello hello;

	(void)listener;
	(void)from;
	(void)length;
	if (router->waiting_count == WAITING_MAX)
		make_room(router);
	peer = calloc(1, sizeof(*peer));
	if (!peer) {
		close(fd);
		return;
	}
	say_hello(router, &hello);
	peer->router = router;
	peer->number = NO_NUMBER;
	peer->session = session_accept(router->agent, fd, &hello, &ops, peer);
	if (!peer->session) {
		free(peer);
		return;
	}
	TAILQ_INSERT_TAIL(&router->waiting, peer, link);
	router->waiting_count++;
}

static void on_accept_again(evutil_socket_t fd, short what, void *context)
{
	struct router_part *router = context;

	(void)fd;
	(void)what;
	evconnlistener_enable(router->listener);
}

/* Without a pause the loop would spin: the connection stays in the queue. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
	const struct timeval pause = {1, 0};
	struct router_part *router = context;

	log_warning("router.listen: accepting pauses for 1 s: %s; raise the limit of open files "
		    "(LimitNOFILE) if there are that many targets",
		    strerror(EVUTIL_SOCKET_ERROR()));
	evconnlistener_disable(listener);
	event_add(router->accept_again, &pause);
}

int router_sessions_start(struct router_part *router)
{
	const struct config_router *config = &router->agent->config->router;
	struct event_base *base = router->agent->base;
	struct sockaddr_storage at;
	socklen_t length = address_to_socket(&config->listen, config->listen_port, &at);
	unsigned int flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
	char text[ADDRESS_TEXT];

	router->accept_again = event_new(base, -1, 0, on_accept_again, router);
	if (!router->accept_again)
		return -ENOMEM;
	if (!address_is_ipv4(&config->listen)) /* an IPv4 socket knows no such option */
		flags |= LEV_OPT_BIND_IPV6ONLY;
	router->listener = evconnlistener_new_bind(base, on_accept, router, flags, 128,
						   (struct sockaddr *)&at, (int)length);
	if (!router->listener) {
		int error = errno;

		log_error("router.listen %s: %s; configure an address of this node and a free port",
			  endpoint_format(&config->listen, config->listen_port, text),
			  strerror(error));
		return -error;
	}
	evconnlistener_set_error_cb(router->listener, on_accept_error);
	return 0;
}

void router_sessions_stop(struct router_part *router)
{
	struct router_peer *peer;

	if (router->listener)
		evconnlistener_free(router->listener);
	if (router->accept_again)
		event_free(router->accept_again);
	while ((peer = TAILQ_FIRST(&router->waiting))) {
		session_leave(peer->session, GOODBYE_STOPPING, "limpetd stops");
		peer_free(peer);
	}
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		peer = router->peers[i];
		if (!peer)
			continue;
		session_leave(peer->session, GOODBYE_STOPPING, "limpetd stops");
		peer_free(peer);
	}
}
