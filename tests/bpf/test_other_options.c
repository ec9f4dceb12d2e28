// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_other_options.c - the request's program sees every setsockopt and getsockopt under its
 * cgroup: it keeps the selector where it is, and all else, others' programs too, as it is without
 * it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "limpet/limpet.h"
#include "request.skel.h"
#include "stage.h"

#define CLIENT "127.0.2.1"

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

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(selector_keeps_its_group),
		TEST(containers_are_left_alone),
		TEST(programs_of_others_have_their_say),
		TEST(other_levels_are_untouched),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
