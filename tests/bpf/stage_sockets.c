// SPDX-License-Identifier: BSD-2-Clause
/* stage_sockets.c - both ends' sockets, and what one asks over them. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "address.h"
#include "limpet/limpet.h"

#define MAX_FDS	     1024
#define MAX_SOCKETS  64
#define ADOPTED_SLOT 0x1000000 /* instance ids differ from slots */

static struct listener {
	int fd;
	uint32_t instance;
} listeners[MAX_SOCKETS];
static unsigned int listener_count, slots_used;
static bool is_ours[MAX_FDS]; /* descriptors to close at the end of a test */

static int our(int fd)
{
	assert_in_range(fd, 0, MAX_FDS - 1);
	is_ours[fd] = true;
	return fd;
}

static socklen_t socket_address(const char *text, unsigned int port,
				struct sockaddr_storage *address)
{
	struct address parsed;

	assert_int_equal(address_parse(text, &parsed), 0);
	return address_to_socket(&parsed, htons(port), address);
}

int stage_bind(const char *text, unsigned int port)
{
	struct sockaddr_storage address = {0};
	socklen_t length = socket_address(text ? text : "::", port, &address);
	int fd = our(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	int one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	return fd;
}

void stage_listen_all(uint32_t count, const char *address, unsigned int port)
{
	for (uint32_t slot = 0; slot < count; slot++)
		stage_listen(slot, address, port);
}

const char *stage_client(unsigned int number)
{
	static char text[32];

	snprintf(text, sizeof(text), "127.0.3.%u", number + 1);
	return text;
}

int stage_listen_plain(const char *text, unsigned int port)
{
	int fd = stage_bind(text, port);

	assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

static void add_member(const char *text, unsigned int port, struct member member)
{
	static struct group group;
	struct group_key key = {.port = htons(port), .family = AF_INET6};
	int fd = stage_map(STAGE_GROUP_MAP);

	if (text) {
		assert_int_equal(address_parse(text, &key.bound), 0);
		key.family = address_is_ipv4(&key.bound) ? AF_INET : AF_INET6;
	}
	memset(&group, 0, sizeof(group));
	bpf_map_lookup_elem(fd, &key, &group);
	group.member[group.members++] = member;
	assert_int_equal(bpf_map_update_elem(fd, &key, &group, BPF_ANY), 0);
}

void stage_adopt(int fd, uint32_t slot, const char *text, unsigned int port)
{
	struct instance instance = stage_instance(slot);
	struct socket_note note = {.instance = slot + 1};
	socklen_t length = sizeof(note.cookie);
	int program = stage_selector();
	uint32_t at = slots_used++;
	uint64_t value = (uint64_t)fd;

	if (instance.state == INSTANCE_FREE) {
		instance.id = ADOPTED_SLOT + slot;
		instance.pid = getpid();
		instance.state = INSTANCE_READY;
		stage_put_instance(slot, &instance);
	}
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &note.cookie, &length), 0);
	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_NOTE_MAP), &fd, &note, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_LISTENER_MAP), &at, &value, BPF_ANY),
			 0);
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)), 0);
	add_member(text, port, (struct member){.listener = at, .instance = slot});
	listeners[listener_count++] = (struct listener){fd, slot};
}

int stage_listen(uint32_t slot, const char *text, unsigned int port)
{
	int fd = stage_listen_plain(text, port);

	stage_adopt(fd, slot, text, port);
	return fd;
}

int stage_socket(const char *client)
{
	struct sockaddr_storage address = {0};
	socklen_t length = socket_address(client, 0, &address);
	int fd = our(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)), one = 1;

	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	return fd;
}

int stage_connect(const char *client, const char *service, unsigned int port)
{
	struct sockaddr_storage address = {0};
	socklen_t length = socket_address(service, port, &address);
	int fd = stage_socket(client), error;

	if (connect(fd, (struct sockaddr *)&address, length)) {
		error = -errno;
		stage_close(fd);
		return error;
	}
	return fd;
}

int stage_connect_fast(int fd, const char *service, unsigned int port, const char *data)
{
	struct sockaddr_storage address = {0};
	socklen_t length = socket_address(service, port, &address);

	if (sendto(fd, data, strlen(data), MSG_FASTOPEN | MSG_DONTWAIT, (struct sockaddr *)&address,
		   length) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

static bool accept_any(void *context)
{
	struct pair *pair = context;

	for (unsigned int i = 0; i < listener_count && pair->server < 0; i++) {
		if (!is_ours[listeners[i].fd])
			continue;
		pair->server = accept4(listeners[i].fd, NULL, NULL, SOCK_CLOEXEC);
		pair->instance = listeners[i].instance;
	}
	return pair->server >= 0;
}

struct pair stage_accept(int client)
{
	struct pair pair = {.client = client, .server = -1};

	assert_true(stage_wait(accept_any, &pair));
	our(pair.server);
	return pair;
}

bool stage_accept_now(struct pair *pair)
{
	*pair = (struct pair){.client = -1, .server = -1};
	if (!accept_any(pair))
		return false;
	our(pair->server);
	return true;
}

struct pair stage_pair(const char *client, const char *service, unsigned int port)
{
	int fd = stage_connect(client, service, port);

	assert_true(fd >= 0);
	return stage_accept(fd);
}

void stage_close(int fd)
{
	assert_true(is_ours[fd]);
	is_ours[fd] = false;
	close(fd);
}

void stage_close_all(void)
{
	for (int fd = 0; fd < MAX_FDS; fd++) {
		if (is_ours[fd])
			stage_close(fd);
	}
	listener_count = 0;
	slots_used = 0;
}

void stage_reset(int fd)
{
	struct linger now = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	stage_close(fd);
}

void stage_close_pair(struct pair *pair)
{
	stage_close(pair->client);
	stage_close(pair->server);
}

/* --- affinities ---------------------------------------------------------------------------------
 */

int stage_ask(int conn, uint32_t flags, uint32_t idle_ms, uint32_t max_life_ms)
{
	struct limpet_affinity_options options = {sizeof(options), flags, idle_ms, max_life_ms};

	return setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY, &options, sizeof(options)) ? -errno
											: 0;
}

int stage_ask_default(int conn)
{
	return stage_ask(conn, 0, LIMPET_IDLE_DEFAULT, 0);
}

struct limpet_affinity_status stage_status(int conn)
{
	struct limpet_affinity_status status;

	assert_int_equal(limpet_affinity_status(conn, &status), 0);
	return status;
}

/* It tells by its exit status. */
int stage_in_child(int (*act)(int conn), int conn)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(-act(conn));
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

struct affinity_key stage_key(const char *client)
{
	struct affinity_key key = {0};

	assert_int_equal(address_parse(client, &key.client), 0);
	return key;
}

bool stage_affinity(const char *client, struct target_affinity *affinity)
{
	struct affinity_key key = stage_key(client);

	return !bpf_map_lookup_elem(stage_map(STAGE_AFFINITY_MAP), &key, affinity);
}

uint32_t stage_client_connections(const char *client, uint32_t slot)
{
	struct client_key key = {.client = stage_key(client), .instance = slot};
	struct client_count element;

	if (bpf_map_lookup_elem(stage_map(STAGE_CLIENT_MAP), &key, &element))
		return 0;
	return CLIENT_CONNECTIONS(element.word);
}

int stage_call(struct agent_call *call)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = call, .ctx_size_in = sizeof(*call));

	call->result = 1;
	assert_int_equal(bpf_prog_test_run_opts(stage_agent(), &options), 0);
	return call->result;
}

int stage_reap(const char *client)
{
	struct agent_call call = {.op = AGENT_REAP, .affinity = stage_key(client)};

	return stage_call(&call);
}
