/* SPDX-License-Identifier: BSD-2-Clause */
/* A router's end of a session, driven by one event loop; the peer is a process (session_peer.h). */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "certificates.h"
#include "codec.h"
#include "log.h"
#include "session.h"
#include "session_peer.h"

#define PATIENCE_MS 60000 /* less than the peer's */
#define BULK	    (2 * 1024 * 1024)

static struct agent agent;
static struct config config;

/* ------------------------------------------------------------------------------------------------
 * the router's end */

struct seen {
	struct session *session;
	unsigned int hellos, messages, closed;
	enum goodbye_reason reason;
	char text[256], name[NAME_SIZE];
	int answer;	   /* of the hello callback */
	size_t given, all; /* bytes handed over when asked for more */
	bool hello_drops, hello_leaves;
};

static int on_hello(void *context, struct session *session, const struct message_hello *hello)
{
	struct seen *seen = context;

	seen->hellos++;
	memcpy(seen->name, hello->name, NAME_SIZE);
	assert_string_equal(session_peer_name(session), hello->name);
	if (seen->hello_drops)
		session_drop(session);
	if (seen->hello_leaves)
		session_leave(session, GOODBYE_REPLACED, NULL);
	return seen->answer;
}

static int on_message(void *context, struct session *session, const struct message *message)
{
	struct seen *seen = context;

	(void)session;
	if (message->type != MESSAGE_HEARTBEAT)
		seen->messages++;
	return message->type == MESSAGE_SYNC ? -EPROTO : 0;
}

static bool on_more(void *context, struct session *session, struct message *message)
{
	struct seen *seen = context;

	(void)session;
	if (seen->given >= seen->all)
		return false;
	memset(message, 0, sizeof(*message));
	message->type = MESSAGE_CONNECTION;
	message->connection.service.port = htons(80);
	message->connection.service.protocol = IPPROTO_TCP;
	seen->given += WIRE_HEADER + 37;
	return true;
}

static void on_closed(void *context, struct session *session, enum goodbye_reason reason,
		      const char *text)
{
	struct seen *seen = context;

	(void)session;
	seen->closed++;
	seen->reason = reason;
	snprintf(seen->text, sizeof(seen->text), "%s", text);
}

static const struct session_ops ops = {
	.hello = on_hello,
	.message = on_message,
	.more = on_more,
	.closed = on_closed,
};

static struct message_hello own_hello(enum wire_role role, const char *name)
{
	struct message_hello hello = {.version = WIRE_VERSION, .role = (uint16_t)role};

	hello.node_id = 1;
	strncpy(hello.name, name, NAME_SIZE - 1);
	return hello;
}

/* Run the loop until the condition holds, or for PATIENCE_MS; what holds then. */
static bool run_until(bool (*condition)(const struct seen *seen), const struct seen *seen)
{
	const struct timeval step = {0, 10000};
	uint64_t limit = agent_now_ms() + PATIENCE_MS;

	while (!condition(seen) && agent_now_ms() < limit) {
		event_base_loopexit(agent.base, &step);
		event_base_dispatch(agent.base);
	}
	return condition(seen);
}

static bool is_closed(const struct seen *seen)
{
	return seen->closed;
}

static bool has_hello(const struct seen *seen)
{
	return seen->hellos;
}

static bool none_left(const struct seen *seen)
{
	(void)seen;
	return agent.sessions == 0;
}

/* One session with this peer until it is closed; the peer's exit code. */
static int meet(const struct peer *peer, struct seen *seen)
{
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	pid_t pid;
	int fd = peer_start(peer, &pid);

	seen->session = session_accept(&agent, fd, &hello, &ops, seen);
	assert_non_null(seen->session);
	assert_true(run_until(is_closed, seen));
	assert_true(run_until(none_left, seen));
	assert_int_equal(seen->closed, 1);
	return peer_end(pid);
}

/* ------------------------------------------------------------------------------------------------
 * who is refused */

static void send_header(SSL *ssl, uint16_t length, uint8_t type)
{
	uint8_t header[WIRE_HEADER] = {(uint8_t)(length >> 8), (uint8_t)length, type, 0};

	SSL_write(ssl, header, sizeof(header));
}

static void act_over_long(SSL *ssl)
{
	send_header(ssl, 0xffff, MESSAGE_TARGET);
}

static void act_unknown_type(SSL *ssl)
{
	send_header(ssl, 5, 200);
}

static void act_second_hello(SSL *ssl)
{
	struct message hello = {.type = MESSAGE_HELLO};

	hello.hello = own_hello(WIRE_TARGET, "t1");
	peer_send(ssl, &hello);
}

static void act_not_allowed(SSL *ssl)
{
	peer_send(ssl, &(struct message){.type = MESSAGE_SYNC});
}

static void act_goodbye(SSL *ssl)
{
	struct message goodbye = {.type = MESSAGE_GOODBYE};

	goodbye.goodbye.reason = GOODBYE_LEAVING;
	strcpy(goodbye.goodbye.text, "unloaded");
	peer_send(ssl, &goodbye);
}

/* Not before our HELLO is there: what is written to a peer that is gone fails as a whole. */
static void act_die(SSL *ssl)
{
	struct message hello;

	_exit(peer_receive(ssl, &hello) ? SAW_NOTHING : SAW_ALERT);
}

/* clang-format off */
static const struct row {
	const char *what;
	struct peer peer;
	int answer;			/* of our hello callback */
	unsigned int hellos;
	enum goodbye_reason reason;	/* why it was closed here */
	const char *text;		/* part of it */
	int saw;			/* what the peer saw */
} rows[] = {
	{"another authority", {"stranger", "t1", WIRE_TARGET, 1, NULL}, 0, 0, 0, "certificate", SAW_ALERT},
	{"another name", {"t1", "t2", WIRE_TARGET, 1, NULL}, 0, 0, GOODBYE_IDENTITY, "limpet:target/t2", GOODBYE_IDENTITY},
	{"a router's certificate", {"r1", "r1", WIRE_TARGET, 1, NULL}, 0, 0, GOODBYE_IDENTITY, "limpet:target/r1", GOODBYE_IDENTITY},
	{"the start of a name", {"t1", "t", WIRE_TARGET, 1, NULL}, 0, 0, GOODBYE_IDENTITY, "limpet:target/t", GOODBYE_IDENTITY},
	{"no name in the certificate", {"nameless", "t1", WIRE_TARGET, 1, NULL}, 0, 0, GOODBYE_IDENTITY, "limpet:target/t1", GOODBYE_IDENTITY},
	{"a router where a target belongs", {"r1", "r1", WIRE_ROUTER, 1, NULL}, 0, 0, GOODBYE_IDENTITY, "no target", GOODBYE_IDENTITY},
	{"another version", {"t1", "t1", WIRE_TARGET, 2, NULL}, 0, 0, GOODBYE_VERSION, "version 2", GOODBYE_VERSION},
	{"refused by the owner", {"t1", "t1", WIRE_TARGET, 1, NULL}, GOODBYE_DUPLICATE, 1, GOODBYE_DUPLICATE, "in use", GOODBYE_DUPLICATE},
	{"a frame that is too long", {"t1", "t1", WIRE_TARGET, 1, act_over_long}, 0, 1, GOODBYE_MALFORMED, "", GOODBYE_MALFORMED},
	{"an unknown type", {"t1", "t1", WIRE_TARGET, 1, act_unknown_type}, 0, 1, GOODBYE_MALFORMED, "", GOODBYE_MALFORMED},
	{"a second HELLO", {"t1", "t1", WIRE_TARGET, 1, act_second_hello}, 0, 1, GOODBYE_MALFORMED, "second HELLO", GOODBYE_MALFORMED},
	{"what the owner does not allow", {"t1", "t1", WIRE_TARGET, 1, act_not_allowed}, 0, 1, GOODBYE_MALFORMED, "SYNC", GOODBYE_MALFORMED},
	{"silence", {"t1", "t1", WIRE_TARGET, 1, NULL}, 0, 1, 0, "silent for 2 s", SAW_NOTHING},
	{"GOODBYE", {"t1", "t1", WIRE_TARGET, 1, act_goodbye}, 0, 1, GOODBYE_LEAVING, "unloaded", SAW_NOTHING},
	{"its process dies", {"t1", "t1", WIRE_TARGET, 1, act_die}, 0, 1, GOODBYE_STOPPING, "", SAW_NOTHING},
};
/* clang-format on */

static void test_row(void **state)
{
	const struct row *row = *state;
	struct seen seen = {.answer = row->answer};
	int saw = meet(&row->peer, &seen);

	if (!strstr(seen.text, row->text))
		fail_msg("closed with \"%s\", not \"%s\"", seen.text, row->text);
	assert_int_equal(seen.hellos, row->hellos);
	assert_int_equal(seen.reason, row->reason);
	assert_int_equal(saw, row->saw);
}

/* No certificate at all: TLS itself refuses. */
static void test_no_tls(void **state)
{
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	struct seen seen = {};
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_non_null(session_accept(&agent, pair[0], &hello, &ops, &seen));
	assert_int_equal(write(pair[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
	assert_true(run_until(is_closed, &seen));
	assert_int_equal(seen.hellos, 0);
	assert_true(run_until(none_left, &seen));
	close(pair[1]);
}

/* ------------------------------------------------------------------------------------------------
 * the owner lets go */

static void act_many(SSL *ssl)
{
	for (int i = 0; i < 100; i++)
		peer_send(ssl, &(struct message){.type = MESSAGE_BEGIN});
}

/* What a dropped session had sent is unread, and its owner hears no more of it. */
static void test_drop(void **state)
{
	const struct peer peer = {"t1", "t1", WIRE_TARGET, WIRE_VERSION, act_many};
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	struct seen seen = {.hello_drops = true};
	pid_t pid;

	(void)state;
	assert_non_null(session_accept(&agent, peer_start(&peer, &pid), &hello, &ops, &seen));
	assert_true(run_until(has_hello, &seen));
	assert_int_equal(agent.sessions, 0);
	peer_end(pid);
	assert_int_equal(seen.messages, 0);
	assert_int_equal(seen.closed, 0);
}

/* The same, but the peer hears why. */
static void test_leave(void **state)
{
	const struct peer peer = {"t1", "t1", WIRE_TARGET, WIRE_VERSION, act_many};
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	struct seen seen = {.hello_leaves = true};
	pid_t pid;

	(void)state;
	assert_non_null(session_accept(&agent, peer_start(&peer, &pid), &hello, &ops, &seen));
	assert_true(run_until(has_hello, &seen));
	sessions_flush(&agent);
	assert_int_equal(agent.sessions, 0);
	assert_int_equal(peer_end(pid), GOODBYE_REPLACED);
	assert_int_equal(seen.messages, 0);
	assert_int_equal(seen.closed, 0);
}

/* ------------------------------------------------------------------------------------------------
 * much to say, and a peer that reads slowly */

static void act_read_late(SSL *ssl)
{
	struct message message;
	size_t got = 0;
	char go;

	/* Nothing is read until the test has seen how much was written meanwhile. */
	peer_send(ssl, &(struct message){.type = MESSAGE_BEGIN});
	while (read(STDIN_FILENO, &go, 1) < 0 && errno == EINTR)
		;
	while (got < BULK && peer_receive(ssl, &message))
		if (message.type == MESSAGE_CONNECTION)
			got += WIRE_HEADER + 37;
	_exit(got >= BULK ? 0 : 1);
}

static bool has_message(const struct seen *seen)
{
	return seen->messages;
}

static bool is_all_given(const struct seen *seen)
{
	return seen->given >= seen->all;
}

static bool is_full(const struct seen *seen)
{
	return seen->given >= SESSION_UNSENT_MAX;
}

static bool never(const struct seen *seen)
{
	static uint64_t until;

	(void)seen;
	if (!until)
		until = agent_now_ms() + 500;
	return agent_now_ms() >= until;
}

static void test_slow_reader(void **state)
{
	const struct peer peer = {"t1", "t1", WIRE_TARGET, WIRE_VERSION, act_read_late};
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	struct seen seen = {.all = BULK};
	int go[2], keep = dup(STDIN_FILENO);
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(pipe(go), 0);
	dup2(go[0], STDIN_FILENO);
	fd = peer_start(&peer, &pid);
	dup2(keep, STDIN_FILENO);
	seen.session = session_accept(&agent, fd, &hello, &ops, &seen);
	assert_true(run_until(has_message, &seen));
	assert_true(run_until(is_full, &seen));
	assert_true(run_until(never, &seen));
	/* In our memory 256 KiB; the rest is in the sockets. */
	assert_in_range(seen.given, SESSION_UNSENT_MAX, SESSION_UNSENT_MAX + 512 * 1024);
	assert_int_equal(write(go[1], "g", 1), 1);
	assert_true(run_until(is_all_given, &seen));
	assert_true(run_until(is_closed, &seen));
	assert_int_equal(peer_end(pid), 0);
	assert_true(run_until(none_left, &seen));
	close(go[0]);
	close(go[1]);
	close(keep);
}

/* ------------------------------------------------------------------------------------------------
 * both ends are ours, over TCP */

struct pair {
	struct seen router, target;
};

static void accept_one(evutil_socket_t fd, short what, void *context)
{
	struct message_hello hello = own_hello(WIRE_ROUTER, "r1");
	struct pair *pair = context;

	(void)what;
	pair->router.session =
		session_accept(&agent, accept(fd, NULL, NULL), &hello, &ops, &pair->router);
}

static struct pair *pair_of;

static bool both_open(const struct seen *seen)
{
	(void)seen;
	return pair_of->router.hellos && pair_of->target.hellos;
}

static void test_both_ends(void **state)
{
	struct message_hello hello = own_hello(WIRE_TARGET, "r1");
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct address address, other;
	socklen_t length = sizeof(at);
	struct pair pair = {};
	struct event *accepted;
	__be16 port;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	pair_of = &pair;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&at, &length);
	address_from_socket((struct sockaddr *)&at, &address, &port);
	accepted = event_new(agent.base, fd, EV_READ, accept_one, &pair);
	event_add(accepted, NULL);
	pair.target.session =
		session_connect(&agent, &address, port, &address, &hello, &ops, &pair.target);
	assert_non_null(pair.target.session);
	assert_true(run_until(both_open, NULL));
	assert_true(address_equal(session_peer_address(pair.router.session), &address));
	address_parse("192.0.2.7", &other);
	assert_true(session_certificate_has(pair.router.session, &other));
	address_parse("192.0.2.8", &other);
	assert_false(session_certificate_has(pair.router.session, &other));
	session_end(pair.target.session, GOODBYE_STOPPING, "for the test");
	assert_int_equal(pair.target.closed, 0); /* not from within */
	assert_true(run_until(is_closed, &pair.router));
	assert_true(run_until(is_closed, &pair.target));
	assert_int_equal(pair.router.reason, GOODBYE_STOPPING);
	assert_string_equal(pair.router.text, "for the test");
	assert_true(run_until(none_left, NULL));
	event_free(accepted);
	close(fd);
}

/* ------------------------------------------------------------------------------------------------
 * set-up */

static char *path_of(const char *file)
{
	static char paths[3][128];
	static unsigned int next;
	char *path = paths[next++ % 3];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, file);
	return path;
}

static int set_up(void **state)
{
	struct authority cluster, other;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_init("test_session", false);
	if (!mkdtemp(directory))
		return -1;
	make_authority(&cluster, "cluster");
	make_authority(&other, "other");
	write_certificate(path_of("ca.pem"), cluster.certificate);
	make_node(directory, "r1", "URI:limpet:router/r1,URI:limpet:target/r1x,IP:192.0.2.7",
		  &cluster);
	make_node(directory, "both", "URI:limpet:router/r1,URI:limpet:target/r1,IP:192.0.2.7",
		  &cluster);
	make_node(directory, "t1", "URI:limpet:target/t1", &cluster);
	make_node(directory, "nameless", "DNS:t1", &cluster);
	make_node(directory, "stranger", "URI:limpet:target/t1", &other);
	free_authority(&cluster);
	free_authority(&other);
	config.tls_ca = path_of("ca.pem");
	config.tls_certificate = path_of("both.pem");
	config.tls_key = path_of("both.key");
	agent.base = event_base_new();
	agent.tls = tls_context_new(&config);
	return agent.base && agent.tls ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"r1", "both", "t1", "nameless", "stranger"};
	char file[64];

	(void)state;
	tls_context_free(agent.tls);
	event_base_free(agent.base);
	unlink(path_of("ca.pem"));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(file, sizeof(file), "%s.pem", names[i]);
		unlink(path_of(file));
		snprintf(file, sizeof(file), "%s.key", names[i]);
		unlink(path_of(file));
	}
	return rmdir(directory);
}

int main(void)
{
	enum { ROWS = sizeof(rows) / sizeof(*rows) };
	struct CMUnitTest tests[ROWS + 5] = {};

	for (unsigned int i = 0; i < ROWS; i++) {
		tests[i].name = rows[i].what;
		tests[i].test_func = test_row;
		tests[i].initial_state = (void *)&rows[i];
	}
	tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(test_no_tls);
	tests[ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(test_drop);
	tests[ROWS + 2] = (struct CMUnitTest)cmocka_unit_test(test_leave);
	tests[ROWS + 3] = (struct CMUnitTest)cmocka_unit_test(test_slow_reader);
	tests[ROWS + 4] = (struct CMUnitTest)cmocka_unit_test(test_both_ends);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
