// SPDX-License-Identifier: BSD-2-Clause
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "address.h"
#include "limpet/limpet.h"

#include "agent.skel.h"
#include "request.skel.h"
#include "selector.skel.h"
#include "tracker.skel.h"

#define LIMIT_NS    20000000000LL
#define MAX_SHARED  64
#define MAX_LINKS   8
#define PATH_LENGTH 256

static struct tracker_bpf *tracker;
static struct selector_bpf *selector;
static struct request_bpf *request;
static struct agent_bpf *agent;

static struct bpf_link *links[MAX_LINKS], *track_first, *track_again;
static unsigned int link_count;
static struct bpf_map *shared[MAX_SHARED];
static unsigned int shared_count;
static struct ring_buffer *ring;
static char cgroup[PATH_LENGTH], cgroup_parent[PATH_LENGTH];

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

bool stage_wait(bool (*holds)(void *context), void *context)
{
	long long end = now_ns() + LIMIT_NS;

	while (!holds(context)) {
		if (now_ns() > end)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

/* --- loading ------------------------------------------------------------------------------------
 */

static uint32_t table_size(const char *name)
{
	if (!strcmp(name, "affinities") || !strcmp(name, "grants"))
		return STAGE_AFFINITIES;
	if (!strcmp(name, "connections") || !strcmp(name, "sockets") || !strcmp(name, "clients"))
		return STAGE_CONNECTIONS;
	return 0;
}

/* The objects share their maps, by name. */
static void share_maps(struct bpf_object *object)
{
	struct bpf_map *map;
	uint32_t size;

	bpf_object__for_each_map (map, object) {
		unsigned int i = 0;

		if (bpf_map__is_internal(map))
			continue;
		while (i < shared_count &&
		       strcmp(bpf_map__name(shared[i]), bpf_map__name(map)) != 0)
			i++;
		if (i < shared_count) {
			assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(shared[i])), 0);
			continue;
		}
		size = table_size(bpf_map__name(map));
		if (size)
			assert_int_equal(bpf_map__set_max_entries(map, size), 0);
	}
}

static void load_object(struct bpf_object *object)
{
	struct bpf_map *map;

	share_maps(object);
	assert_int_equal(bpf_object__load(object), 0);
	if (shared_count)
		return;
	bpf_object__for_each_map (map, object) {
		if (!bpf_map__is_internal(map) && shared_count < MAX_SHARED)
			shared[shared_count++] = map;
	}
}

static void keep_link(struct bpf_link *link)
{
	assert_int_equal(libbpf_get_error(link), 0);
	links[link_count++] = link;
}

/* Which of the two programs for connections runs. */
void stage_track(bool first, bool again)
{
	bpf_link__destroy(track_first);
	bpf_link__destroy(track_again);
	track_first = first ? bpf_program__attach(tracker->progs.track_state) : NULL;
	track_again = again ? bpf_program__attach(tracker->progs.track_again) : NULL;
	assert_true(!first || track_first);
	assert_true(!again || track_again);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void join_cgroup(const char *directory)
{
	char path[PATH_LENGTH + 16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	write_text(path, "0");
}

int stage_cgroup(void)
{
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* A cgroup of our own: the request program counts by the socket's, which is its maker's. */
static int make_cgroup(void)
{
	struct mntent *entry;
	FILE *mounts = setmntent("/proc/mounts", "r");
	int fd;

	assert_non_null(mounts);
	while ((entry = getmntent(mounts)) && strcmp(entry->mnt_type, "cgroup2") != 0)
		;
	assert_non_null(entry);
	snprintf(cgroup_parent, sizeof(cgroup_parent), "%s", entry->mnt_dir);
	endmntent(mounts);
	fd = snprintf(cgroup, sizeof(cgroup), "%s/limpet-test-%d", cgroup_parent, getpid());
	assert_in_range(fd, 0, sizeof(cgroup) - 1);
	assert_int_equal(mkdir(cgroup, 0755), 0);
	join_cgroup(cgroup);
	return stage_cgroup();
}

static void add_address6(const char *text)
{
	struct {
		struct in6_addr address;
		uint32_t prefix;
		int interface;
	} add = {.prefix = 128, .interface = (int)if_nametoindex("lo")};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET6, text, &add.address), 1);
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &add), 0);
	close(fd);
}

/* Its cookie. */
static uint64_t new_network(void)
{
	struct ifreq request_up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request_up), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length), 0);
	close(fd);
	return cookie;
}

int stage_enter_container(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(home >= 0);
	new_network();
	return home;
}

void stage_leave_container(int home)
{
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
}

static uint64_t make_network(void)
{
	uint64_t cookie = new_network();
	char text[32];

	add_address6(SERVICE6);
	for (int i = 1; i <= CLIENTS6; i++) {
		snprintf(text, sizeof(text), "fd00:2::%d", i);
		add_address6(text);
	}
	return cookie;
}

static struct {
	enum event_type type;
	unsigned int seen;
	struct event *last;
} wanted;

static int count_event(void *context, void *data, size_t size)
{
	const struct event *event = data;

	(void)context;
	assert_int_equal(size, sizeof(*event));
	if (event->type != wanted.type)
		return 0;
	wanted.seen++;
	if (wanted.last)
		*wanted.last = *event;
	return 0;
}

unsigned int stage_events(enum event_type type, struct event *last)
{
	wanted.type = type;
	wanted.seen = 0;
	wanted.last = last;
	assert_true(ring_buffer__consume(ring) >= 0);
	return wanted.seen;
}

int stage_load(void **state)
{
	uint64_t netns_cookie = make_network();
	int directory = make_cgroup();

	(void)state;
	tracker = tracker_bpf__open();
	selector = selector_bpf__open();
	request = request_bpf__open();
	agent = agent_bpf__open();
	assert_true(tracker && selector && request && agent);
	tracker->rodata->netns_cookie = netns_cookie;
	request->rodata->netns_cookie = netns_cookie;
	tracker->rodata->mss_ipv4 = STAGE_MSS4;
	tracker->rodata->mss_ipv6 = STAGE_MSS6;
	load_object(tracker->obj);
	load_object(selector->obj);
	load_object(request->obj);
	load_object(agent->obj);
	stage_track(true, true);
	keep_link(bpf_program__attach(tracker->progs.track_exit));
	keep_link(bpf_program__attach_cgroup(tracker->progs.lower_mss, directory));
	keep_link(bpf_program__attach_cgroup(request->progs.request_set, directory));
	keep_link(bpf_program__attach_cgroup(request->progs.request_get, directory));
	close(directory);
	ring = ring_buffer__new(bpf_map__fd(tracker->maps.events), count_event, NULL, NULL);
	assert_non_null(ring);
	return 0;
}

int stage_unload(void **state)
{
	(void)state;
	ring_buffer__free(ring);
	stage_track(false, false);
	while (link_count)
		bpf_link__destroy(links[--link_count]);
	agent_bpf__destroy(agent);
	request_bpf__destroy(request);
	selector_bpf__destroy(selector);
	tracker_bpf__destroy(tracker);
	join_cgroup(cgroup_parent);
	return rmdir(cgroup);
}

/* --- maps ---------------------------------------------------------------------------------------
 */

int stage_map(enum stage_map map)
{
	struct bpf_map *const maps[STAGE_MAPS] = {
		[STAGE_CONNECTION_MAP] = tracker->maps.connections,
		[STAGE_SOCKET_MAP] = tracker->maps.sockets,
		[STAGE_CLIENT_MAP] = tracker->maps.clients,
		[STAGE_AFFINITY_MAP] = tracker->maps.affinities,
		[STAGE_GRANT_MAP] = tracker->maps.grants,
		[STAGE_PROCESS_MAP] = tracker->maps.processes,
		[STAGE_SERVICE_MAP] = tracker->maps.services,
		[STAGE_INSTANCE_MAP] = tracker->maps.instances,
		[STAGE_LOAD_MAP] = tracker->maps.instance_load,
		[STAGE_GROUP_MAP] = tracker->maps.groups,
		[STAGE_LISTENER_MAP] = tracker->maps.listeners,
		[STAGE_NOTE_MAP] = tracker->maps.socket_notes,
		[STAGE_MSS_MAP] = tracker->maps.lowered_mss,
	};

	return bpf_map__fd(maps[map]);
}

int stage_selector(void)
{
	return bpf_program__fd(selector->progs.selector);
}

int stage_agent(void)
{
	return bpf_program__fd(agent->progs.agent);
}

unsigned int stage_entries(enum stage_map map)
{
	uint8_t key[64];
	unsigned int entries = 0;
	int fd = stage_map(map), error = bpf_map_get_next_key(fd, NULL, key);

	while (!error) {
		entries++;
		error = bpf_map_get_next_key(fd, key, key);
	}
	return entries;
}

static void empty_map(int fd)
{
	uint8_t key[64];

	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		assert_int_equal(bpf_map_delete_elem(fd, key), 0);
}

struct target_service stage_service(uint32_t number)
{
	struct target_service service;

	assert_int_equal(bpf_map_lookup_elem(stage_map(STAGE_SERVICE_MAP), &number, &service), 0);
	return service;
}

void stage_put_service(uint32_t number, const struct target_service *service)
{
	struct served entry = {.service = number};

	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_SERVICE_MAP), &number, service, 0), 0);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(tracker->maps.served), &service->key, &entry, 0),
		0);
}

struct instance stage_instance(uint32_t slot)
{
	struct instance instance;

	assert_int_equal(bpf_map_lookup_elem(stage_map(STAGE_INSTANCE_MAP), &slot, &instance), 0);
	return instance;
}

void stage_put_instance(uint32_t slot, const struct instance *instance)
{
	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_INSTANCE_MAP), &slot, instance, 0), 0);
}

struct instance_load stage_instance_load(uint32_t slot)
{
	struct instance_load load;

	assert_int_equal(bpf_map_lookup_elem(stage_map(STAGE_LOAD_MAP), &slot, &load), 0);
	return load;
}

uint64_t stage_counter(enum counter counter)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t values[256], sum = 0;
	uint32_t key = counter;

	assert_in_range(cpus, 1, 256);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(tracker->maps.counters), &key, values), 0);
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

void stage_correct_clients(void)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t none[256] = {0}, retries = stage_counter(COUNT_TRACK_RETRY);
	uint32_t retry = COUNT_TRACK_RETRY;
	struct client_count found;
	struct client_key key;

	assert_in_range(cpus, 1, 256);
	while (!bpf_map_get_next_key(stage_map(STAGE_CLIENT_MAP), NULL, &key)) {
		struct agent_call call = {.op = AGENT_REPAIR_CLIENT,
					  .affinity = key.client,
					  .instance = key.instance};

		assert_int_equal(bpf_map_lookup_elem(stage_map(STAGE_CLIENT_MAP), &key, &found), 0);
		assert_in_range(CLIENT_CONNECTIONS(found.word), 0, retries);
		call.id = found.word;
		assert_int_equal(stage_call(&call), 0);
	}
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(tracker->maps.counters), &retry, none, BPF_ANY), 0);
}

static void put_service(uint32_t number, const char *name, const char *address, unsigned int port,
			enum affinity_mode affinity)
{
	struct target_service service = {
		.key = {.port = htons(port), .protocol = IPPROTO_TCP},
		.affinity = affinity,
		.client_prefix = 128,
		.idle_ns = STAGE_IDLE_MS * 1000000ULL,
	};

	snprintf(service.name, sizeof(service.name), "%s", name);
	assert_int_equal(address_parse(address, &service.key.address), 0);
	stage_put_service(number, &service);
}

int stage_begin(void **state)
{
	(void)state;
	put_service(SHOP, "shop", SERVICE4, 80, AFFINITY_BY_REQUEST);
	put_service(SHOP6, "shop6", SERVICE6, 80, AFFINITY_BY_REQUEST);
	put_service(PLAIN, "plain", SERVICE4, 443, AFFINITY_NONE);
	put_service(TIMED, "timed", SERVICE4, 81, AFFINITY_BY_TIME);
	stage_events(0, NULL);
	return 0;
}

/* A connection's entry goes first, then what counts it: on another CPU, perhaps just now. */
static bool is_all_gone(void *context)
{
	(void)context;
	for (uint32_t slot = 0; slot < STAGE_SLOTS; slot++)
		if (stage_instance_load(slot).connections)
			return false;
	return !stage_entries(STAGE_CONNECTION_MAP) && !stage_entries(STAGE_SOCKET_MAP) &&
	       !stage_entries(STAGE_CLIENT_MAP);
}

int stage_end(void **state)
{
	struct instance free_instance = {0};
	struct instance_load none = {0};

	(void)state;
	stage_close_all();
	assert_true(stage_wait(is_all_gone, NULL));
	empty_map(stage_map(STAGE_AFFINITY_MAP));
	empty_map(stage_map(STAGE_GRANT_MAP));
	empty_map(stage_map(STAGE_PROCESS_MAP));
	empty_map(stage_map(STAGE_GROUP_MAP));
	for (uint32_t slot = 0; slot < STAGE_SLOTS; slot++) {
		assert_int_equal(
			bpf_map_update_elem(stage_map(STAGE_LOAD_MAP), &slot, &none, BPF_ANY), 0);
		stage_put_instance(slot, &free_instance);
	}
	assert_int_equal(stage_counter(COUNT_TRACK_RETRY), 0);
	return 0;
}

/* Of a connection that closes, the socket's entry is the last to go: by then it is counted down,
 * too, and its event is there. */
static bool has_connections(void *context)
{
	unsigned int entries = *(unsigned int *)context;

	return stage_entries(STAGE_CONNECTION_MAP) == entries &&
	       stage_entries(STAGE_SOCKET_MAP) == entries;
}

bool stage_wait_connections(unsigned int entries)
{
	return stage_wait(has_connections, &entries);
}
