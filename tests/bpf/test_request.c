// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_request.c - the application's request, with real sockets and processes: who may ask, how,
 * and what it is answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "limpet/limpet.h"
#include "request.skel.h"
#include "stage.h"

#define INSTANCES 4
#define CLIENT	  "127.0.2.1"
#define OTHER	  "127.0.2.2"
#define DEFAULT	  LIMPET_IDLE_DEFAULT

static int release(int conn)
{
	int zero = 0;

	return setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &zero, sizeof(zero)) ? -errno
											  : 0;
}

/* --- who may ask, and how
 * ------------------------------------------------------------------------- */

static void test_only_own_connections(void **state)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct pair pair, gone;
	int listener = stage_listen(0, SERVICE4, 80), udp, plain;

	(void)state;
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(listener), -EPERM);
	assert_int_equal(stage_ask_default(pair.client), -EPERM);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(stage_ask_default(udp), -EPERM);
	close(udp);
	udp = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(stage_ask_default(udp), -EPERM);
	close(udp);
	/* Reset by the client. */
	gone = stage_pair(OTHER, SERVICE4, 80);
	stage_reset(gone.client);
	assert_true(stage_wait_connections(1));
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	/* Disconnected, then a client of another server, from the service's own address and port.
	 */
	plain = stage_listen_plain("127.0.1.99", 9);
	gone = stage_pair(OTHER, SERVICE4, 80);
	assert_int_equal(connect(gone.server, &none, sizeof(none)), 0);
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	elsewhere.sin_addr.s_addr = inet_addr("127.0.1.99");
	assert_int_equal(connect(gone.server, (struct sockaddr *)&elsewhere, sizeof(elsewhere)), 0);
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), 0);
	stage_close(plain);
	/* Half closed by the client: it may still ask. */
	assert_int_equal(shutdown(pair.client, SHUT_WR), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = pair.server, .events = POLLIN}, 1, 1000), 1);
	assert_int_equal(stage_ask_default(pair.server), 0);
}

/* Listener 0 is an instance's; `guarded` as the agent leaves it. */
static void put_note(int listener, uint64_t cookie, uint32_t guarded)
{
	struct socket_note note = {.cookie = cookie, .instance = 1, .guarded = guarded};

	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_NOTE_MAP), &listener, &note, BPF_ANY),
			 0);
}

static int attach_filter(int fd)
{
	struct sock_filter first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {1, &first};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program))
		       ? -errno
		       : 0;
}

static int detach(int fd)
{
	int zero = 0;

	return setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &zero, sizeof(zero)) ? -errno
											: 0;
}

static void test_selector_keeps_its_group(void **state)
{
	int listener = stage_listen(0, SERVICE4, 80), program = stage_selector(), plain, one = 1;
	socklen_t length = sizeof(uint64_t);
	uint64_t cookie;

	(void)state;
	assert_int_equal(getsockopt(listener, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
	put_note(listener, cookie, 1);
	assert_int_equal(attach_filter(listener), -EBUSY);
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program,
				    sizeof(program)),
			 -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(detach(listener), -EBUSY);
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)), 0);
	/* Nor through a listener of the same group that is not adopted yet. */
	plain = stage_listen_plain(SERVICE4, 80);
	assert_int_equal(attach_filter(plain), -EBUSY);
	assert_int_equal(detach(plain), -EBUSY);
	stage_close(plain);
	/* The agent itself may, on one that it is adopting. */
	put_note(listener, cookie, 0);
	assert_int_equal(attach_filter(listener), 0);
	/* A note of another listener's, as a connection inherits it, guards nothing. */
	plain = stage_listen_plain("127.0.1.99", 9);
	put_note(plain, cookie, 1);
	assert_int_equal(attach_filter(plain), 0);
	stage_close(plain);
}

static void test_malformed(void **state)
{
	struct {
		struct limpet_affinity_options options;
		uint32_t tail[12];
	} large = {.options = LIMPET_AFFINITY_OPTIONS_INIT};
	struct limpet_affinity_options options = LIMPET_AFFINITY_OPTIONS_INIT;
	struct limpet_affinity_status status;
	struct pair pair;
	socklen_t length;
	int one = 1;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, &options, 12), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	large.options.size = 17;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), -EINVAL);
	options.size = 8;
	assert_int_equal(limpet_affinity_request(pair.server, &options), -EINVAL);
	assert_int_equal(stage_ask(pair.server, 2, DEFAULT, 0), -EINVAL);
	large.options.size = sizeof(large);
	large.tail[3] = 1;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), -EINVAL);
	assert_int_equal(
		setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &one, sizeof(one)),
		-1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, 99, &one, sizeof(one)), -1);
	assert_int_equal(errno, ENOPROTOOPT);
	length = sizeof(status) - 1;
	assert_int_equal(getsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, &status, &length),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), 0);
	/* A newer, larger structure, as far as what we do not know is zero. */
	large.tail[3] = 0;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), 0);
}

/* A container on this node: its listeners are nobody's business here, though they be bound alike.
 */
static void test_containers_are_left_alone(void **state)
{
	uint64_t refused = stage_counter(COUNT_STEERING_REFUSED);
	struct limpet_affinity_status status;
	int plain, home;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	home = stage_enter_container();
	plain = stage_listen_plain(SERVICE4, 80);
	stage_leave_container(home);
	assert_int_equal(attach_filter(plain), 0);
	assert_int_equal(detach(plain), 0);
	assert_int_equal(stage_counter(COUNT_STEERING_REFUSED), refused);
	assert_int_equal(limpet_affinity_request(plain, NULL), -ENOPROTOOPT);
	assert_int_equal(limpet_affinity_status(plain, &status), -ENOPROTOOPT);
	stage_close(plain);
}

/* Programs of others under the cgroup have options of their own. Here it is another node's: ours
 * are to it what theirs are to us. */
static void test_programs_of_others_have_their_say(void **state)
{
	struct request_bpf *other = request_bpf__open();
	struct bpf_link *set, *get;
	struct pair pair;
	int directory = stage_cgroup();

	(void)state;
	assert_non_null(other);
	other->rodata->netns_cookie = ~0ULL;
	assert_int_equal(request_bpf__load(other), 0);
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	/* It runs after ours. */
	set = bpf_program__attach_cgroup(other->progs.request_set, directory);
	get = bpf_program__attach_cgroup(other->progs.request_get, directory);
	assert_int_equal(libbpf_get_error(set), 0);
	assert_int_equal(libbpf_get_error(get), 0);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), 0);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
	assert_int_equal(limpet_affinity_release(pair.server), 0);
	bpf_link__destroy(set);
	bpf_link__destroy(get);
	request_bpf__destroy(other);
	close(directory);
}

static void test_other_levels_are_untouched(void **state)
{
	char large[8192] = {0}, name[16] = "";
	struct pair pair;
	struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int one = 1, value = 0, fd;
	socklen_t length = sizeof(value);

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(setsockopt(pair.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	assert_int_equal(getsockopt(pair.server, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
	assert_int_equal(value, 1);
	length = sizeof(name);
	assert_int_equal(getsockopt(pair.server, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
	assert_true(name[0]);
	/* Larger than the page that the hook copies at most. */
	assert_int_equal(setsockopt(pair.server, SOL_SOCKET, SO_KEEPALIVE, large, sizeof(large)),
			 0);
	assert_int_equal(setsockopt(pair.server, IPPROTO_TCP, 9999, &one, sizeof(one)), -1);
	assert_int_equal(errno, ENOPROTOOPT);
	/* One that says how much room it would need. */
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	assert_int_equal(bind(fd, (struct sockaddr *)&groups, sizeof(groups)), 0);
	length = 0;
	assert_int_equal(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &length), 0);
	assert_true(length);
	length = 0;
	assert_int_equal(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, large, &length), 0);
	close(fd);
}

static void test_service_without_affinity(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 443);
	pair = stage_pair(CLIENT, SERVICE4, 443);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), -EOPNOTSUPP);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_NONE);
}

static void test_shared_listener(void **state)
{
	struct pair pair;
	struct event event;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(pair.server), 0);
	stage_events(0, NULL);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), -EOPNOTSUPP);
	assert_int_equal(stage_events(EVENT_SHARED, &event), 1);
	assert_int_equal(event.number, 0);
	assert_int_equal(stage_instance_load(0).shared, event.pid);
	assert_int_equal(stage_ask_default(pair.server), -EOPNOTSUPP);
}

/* limpetd has seen who of the two holds the listener. */
static void test_asker_is_set(void **state)
{
	struct agent_call call = {.op = AGENT_SET_ASKER, .instance = 0, .count = getpid()};
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), -EOPNOTSUPP);
	assert_int_equal(stage_ask_default(pair.server), -EOPNOTSUPP);

	call.id = stage_instance_load(0).asker + 1;
	assert_int_equal(stage_call(&call), -EAGAIN);
	call.id = stage_instance_load(0).asker;
	call.count = stage_instance_load(0).shared; /* has exited */
	assert_int_equal(stage_call(&call), -ENOENT);
	assert_int_not_equal(stage_instance_load(0).shared, 0);
	call.count = getpid();
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_instance_load(0).shared, 0);
	assert_int_equal(stage_instance_load(0).asker, call.id);
	assert_int_equal(stage_ask_default(pair.server), 0);
}

/* The asker's place is free when it is gone: no listener stays shared for ever. */
static void test_asker_succeeds_asker(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), 0);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), 0);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_instance_load(0).shared, 0);
	assert_int_equal(stage_instance_load(0).affinities, 1);
}

/* --- claims
 * --------------------------------------------------------------------------------------- */

/* Two connections of one client, at two instances. */
static void at_two_instances(struct pair *first, struct pair *second)
{
	stage_listen(0, SERVICE4, 80);
	*first = stage_pair(CLIENT, SERVICE4, 80);
	stage_listen(1, SERVICE4, 80);
	*second = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(first->instance, 0);
	assert_int_equal(second->instance, 1);
}

/* As the agent does when a router has said so. */
static void agent_ends(int conn, enum affinity_end end)
{
	struct agent_call call = {.op = AGENT_END_AFFINITY,
				  .affinity = stage_key(CLIENT),
				  .id = stage_status(conn).id,
				  .end = end};

	assert_int_equal(stage_call(&call), 0);
}

static void test_another_instance_holds_it(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct target_affinity before, after;
	struct pair first, second;

	(void)state;
	at_two_instances(&first, &second);
	assert_int_equal(stage_ask_default(first.server), 0);
	assert_int_equal(stage_ask_default(second.server), -EEXIST);
	/* Nor by force, while the service does not allow it. */
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), -EEXIST);
	service.takeover = 1;
	stage_put_service(SHOP, &service);
	assert_int_equal(stage_ask_default(second.server), -EEXIST);
	assert_true(stage_affinity(CLIENT, &before));
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(after.word, before.word); /* for the routers nothing changes */
	assert_int_equal(after.instance, 1);
	assert_int_equal(stage_instance_load(0).affinities, 0);
	assert_int_equal(stage_instance_load(1).affinities, 1);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 1);
	assert_int_equal(stage_status(first.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(release(first.server), -ENOENT);
	/* A life of its own begins, and the one that had it is told why. */
	assert_true(after.created_ns > before.created_ns);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(stage_status(first.server).id, stage_status(second.server).id);
	assert_int_equal(limpet_affinity_wait(first.server, 0), -EEXIST);
	assert_int_equal(stage_status(second.server).reason, LIMPET_REASON_NONE);
	/* Also after it has ended there. */
	assert_int_equal(release(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(stage_ask_default(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(release(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_NONE);
}

static void at_three_instances(struct pair pair[3])
{
	at_two_instances(&pair[0], &pair[1]);
	stage_listen(2, SERVICE4, 80);
	pair[2] = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(pair[2].instance, 2);
}

/* Each takes the client from the one before; then another target does. All are told. */
static void test_all_losers_are_told(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct pair pair[3];

	(void)state;
	service.takeover = 1;
	stage_put_service(SHOP, &service);
	at_three_instances(pair);
	for (int i = 0; i < 3; i++)
		assert_int_equal(stage_ask(pair[i].server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0),
				 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stage_status(pair[i].server).state, LIMPET_AFFINITY_NONE);
		assert_int_equal(stage_status(pair[i].server).reason, LIMPET_REASON_LOST);
		assert_int_equal(limpet_affinity_wait(pair[i].server, 0), -EEXIST);
	}
	assert_int_equal(stage_status(pair[2].server).state, LIMPET_AFFINITY_HERE);
	agent_ends(pair[2].server, END_LOST);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limpet_affinity_wait(pair[i].server, 0), -EEXIST);
}

/* Another target holds the client: so it is for whoever asked, though others have asked since. */
static void test_refused_one_after_the_other(void **state)
{
	struct pair pair[3];

	(void)state;
	at_three_instances(pair);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(stage_ask_default(pair[i].server), 0);
		for (int j = 0; j < i; j++)
			assert_int_equal(limpet_affinity_wait(pair[j].server, 0), -EEXIST);
		agent_ends(pair[i].server, END_REFUSED);
		for (int j = 0; j <= i; j++)
			assert_int_equal(limpet_affinity_wait(pair[j].server, 0), -EEXIST);
	}
	/* Who has let go of it himself was refused nothing. */
	assert_int_equal(stage_ask_default(pair[0].server), 0);
	assert_int_equal(release(pair[0].server), 0);
	assert_int_equal(limpet_affinity_wait(pair[0].server, 0), -ENOENT);
	assert_int_equal(stage_ask_default(pair[1].server), 0);
	assert_int_equal(release(pair[1].server), 0);
	assert_int_equal(limpet_affinity_wait(pair[0].server, 0), -ENOENT);
}

/* The client's affinity has begun so much earlier; not before the machine has. */
static void make_older(uint64_t ms)
{
	struct affinity_key key = stage_key(CLIENT);
	struct target_affinity affinity;

	assert_true(stage_affinity(CLIENT, &affinity));
	affinity.created_ns -= ms * 1000000;
	assert_int_equal(
		bpf_map_update_elem(stage_map(STAGE_AFFINITY_MAP), &key, &affinity, BPF_EXIST), 0);
}

static void test_asking_again_updates(void **state)
{
	struct target_affinity before, after;
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 1000, 0), 0);
	assert_true(stage_affinity(CLIENT, &before));
	assert_int_equal(stage_ask(pair.server, 0, 5000, 70000), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(before.word, after.word);
	assert_int_equal(after.idle_ns, 5000 * 1000000ULL);
	assert_int_equal(after.created_ns, before.created_ns);
	assert_int_equal(stage_instance_load(0).affinities, 1);
	assert_in_range(stage_status(pair.server).expires_in_ms, 65000, 70000);
	/* What the application allows counts from its last word, the age from its first. */
	make_older(8000);
	assert_in_range(stage_status(pair.server).expires_in_ms, 57000, 62000);
	assert_int_equal(stage_ask(pair.server, 0, 5000, 40000), 0);
	assert_in_range(stage_status(pair.server).expires_in_ms, 35000, 40000);
	assert_in_range(stage_status(pair.server).age_ms, 8000, 13000);
	assert_int_equal(stage_ask(pair.server, 0, 5000, 0), 0);
	assert_true(stage_status(pair.server).expires_in_ms == UINT64_MAX);
}

static void test_life_is_the_services_at_most(void **state)
{
	static const struct {
		uint32_t age_ms, asked_ms, service_ms, left_ms;
	} rows[] = {
		{0, 0, 70000, 70000},	   {0, 50000, 0, 50000},    {0, 90000, 70000, 70000},
		{0, 60000, 70000, 60000},  {8000, 0, 20000, 12000}, {8000, 60000, 20000, 12000},
		{8000, 6000, 20000, 6000}, {8000, 6000, 0, 6000},
	};
	struct target_service service = stage_service(SHOP);
	struct target_affinity affinity;
	struct pair pair;
	uint64_t id;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t left;

		service.max_life_ns = rows[i].service_ms * 1000000ULL;
		stage_put_service(SHOP, &service);
		assert_int_equal(stage_ask_default(pair.server), 0);
		make_older(rows[i].age_ms);
		/* Twice: nothing is gained by asking again. */
		assert_int_equal(stage_ask(pair.server, 0, DEFAULT, rows[i].asked_ms), 0);
		assert_int_equal(stage_ask(pair.server, 0, DEFAULT, rows[i].asked_ms), 0);
		left = stage_status(pair.server).expires_in_ms;
		if (left > rows[i].left_ms || left + 5000 < rows[i].left_ms)
			fail_msg("row %zu: %llu ms left", i, (unsigned long long)left);
		assert_true(stage_affinity(CLIENT, &affinity));
		assert_int_equal(affinity.idle_ns, STAGE_IDLE_MS * 1000000ULL);
		assert_int_equal(release(pair.server), 0);
	}
	/* A reload has shortened it: what is older ends, and a life begins anew. */
	assert_int_equal(stage_ask_default(pair.server), 0);
	make_older(2000);
	id = stage_status(pair.server).id;
	service.max_life_ns = 1000 * 1000000ULL;
	stage_put_service(SHOP, &service);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
	assert_true(stage_status(pair.server).id > id);
	assert_in_range(stage_status(pair.server).age_ms, 0, 999);
	assert_int_equal(stage_instance_load(0).affinities, 1);
}

static void test_quota_and_full_table(void **state)
{
	struct instance instance;
	struct pair pair, kept;
	char client[32];

	(void)state;
	stage_listen(0, SERVICE4, 80);
	instance = stage_instance(0);
	instance.max_affinities = 2;
	stage_put_instance(0, &instance);
	for (unsigned int i = 1; i <= 3; i++) {
		snprintf(client, sizeof(client), "127.0.4.%u", i);
		kept = stage_pair(client, SERVICE4, 80);
		assert_int_equal(stage_ask_default(kept.server), i <= 2 ? 0 : -ENOSPC);
	}
	assert_int_equal(stage_instance_load(0).affinities, 2);
	instance.max_affinities = 0;
	stage_put_instance(0, &instance);
	for (unsigned int i = 3; i <= STAGE_AFFINITIES + 4; i++) {
		snprintf(client, sizeof(client), "127.0.4.%u", i);
		pair = stage_pair(client, SERVICE4, 80);
		if (stage_ask_default(pair.server) == -ENOSPC)
			break;
	}
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), STAGE_AFFINITIES);
	assert_int_equal(stage_instance_load(0).affinities, STAGE_AFFINITIES);
	assert_int_equal(stage_ask_default(pair.server), -ENOSPC);
	assert_int_equal(stage_ask_default(kept.server), 0); /* what is there stays, and changes */
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_own_connections),
		TEST(selector_keeps_its_group),
		TEST(malformed),
		TEST(containers_are_left_alone),
		TEST(programs_of_others_have_their_say),
		TEST(other_levels_are_untouched),
		TEST(service_without_affinity),
		TEST(shared_listener),
		TEST(asker_is_set),
		TEST(asker_succeeds_asker),
		TEST(another_instance_holds_it),
		TEST(all_losers_are_told),
		TEST(refused_one_after_the_other),
		TEST(asking_again_updates),
		TEST(life_is_the_services_at_most),
		TEST(quota_and_full_table),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
