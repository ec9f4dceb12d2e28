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

#define LIMIT_NS     3000000000LL
#define MAX_FDS	     1024
#define MAX_SOCKETS  64
#define MAX_SHARED   64
#define MAX_LINKS    8
#define PATH_LENGTH  256
#define ADOPTED_SLOT 0x1000000 /* instance ids differ from slots */

static struct tracker_bpf *tracker;
static struct selector_bpf *selector;
static struct request_bpf *request;
static struct agent_bpf *agent;

static struct bpf_link *links[MAX_LINKS];
static unsigned int link_count;
static struct bpf_map *shared[MAX_SHARED];
static unsigned int shared_count;
static struct ring_buffer *ring;
static char cgroup[PATH_LENGTH], cgroup_parent[PATH_LENGTH];

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
	fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
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

static uint64_t make_network(void)
{
	struct ifreq request_up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);
	char text[32];
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request_up), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length), 0);
	close(fd);
	add_address6(SERVICE6);
	for (int i = 1; i <= CLIENTS6; i++) {
		snprintf(text, sizeof(text), "fd00:2::%d", i);
		add_address6(text);
	}
	return cookie;
}

static int count_event(void *context, void *data, size_t size);

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
	tracker->rodata->mss_ipv4 = STAGE_MSS4;
	tracker->rodata->mss_ipv6 = STAGE_MSS6;
	load_object(tracker->obj);
	load_object(selector->obj);
	load_object(request->obj);
	load_object(agent->obj);
	keep_link(bpf_program__attach(tracker->progs.track_state));
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
	};

	return bpf_map__fd(maps[map]);
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

int stage_end(void **state)
{
	struct instance free_instance = {0};
	struct instance_load load, none = {0};

	(void)state;
	for (int fd = 0; fd < MAX_FDS; fd++) {
		if (is_ours[fd])
			stage_close(fd);
	}
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_entries(STAGE_SOCKET_MAP), 0);
	assert_int_equal(stage_entries(STAGE_CLIENT_MAP), 0);
	empty_map(stage_map(STAGE_AFFINITY_MAP));
	empty_map(stage_map(STAGE_GRANT_MAP));
	empty_map(stage_map(STAGE_PROCESS_MAP));
	empty_map(bpf_map__fd(tracker->maps.groups));
	for (uint32_t slot = 0; slot < MAX_SOCKETS; slot++) {
		load = stage_instance_load(slot);
		assert_int_equal(load.connections, 0);
		assert_int_equal(
			bpf_map_update_elem(stage_map(STAGE_LOAD_MAP), &slot, &none, BPF_ANY), 0);
		stage_put_instance(slot, &free_instance);
	}
	listener_count = 0;
	slots_used = 0;
	assert_int_equal(stage_counter(COUNT_TRACK_RETRY), 0);
	return 0;
}

/* --- sockets ------------------------------------------------------------------------------------
 */

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
	int fd = bpf_map__fd(tracker->maps.groups);

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
	int program = bpf_program__fd(selector->progs.selector);
	uint32_t at = slots_used++;
	uint64_t value = (uint64_t)fd;

	if (instance.state == INSTANCE_FREE) {
		instance.id = ADOPTED_SLOT + slot;
		instance.pid = getpid();
		instance.state = INSTANCE_READY;
		stage_put_instance(slot, &instance);
	}
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &note.cookie, &length), 0);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(tracker->maps.socket_notes), &fd, &note, BPF_ANY),
		0);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(tracker->maps.listeners), &at, &value, BPF_ANY), 0);
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

int stage_connect(const char *client, const char *service, unsigned int port)
{
	struct sockaddr_storage address = {0};
	socklen_t length = socket_address(client, 0, &address);
	int fd = our(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)), one = 1;

	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	length = socket_address(service, port, &address);
	if (connect(fd, (struct sockaddr *)&address, length)) {
		one = -errno;
		stage_close(fd);
		return one;
	}
	return fd;
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
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(agent->progs.agent), &options), 0);
	return call->result;
}

int stage_reap(const char *client)
{
	struct agent_call call = {.op = AGENT_REAP, .affinity = stage_key(client)};

	return stage_call(&call);
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

static bool has_connections(void *context)
{
	return stage_entries(STAGE_CONNECTION_MAP) == *(unsigned int *)context;
}

bool stage_wait_connections(unsigned int entries)
{
	return stage_wait(has_connections, &entries);
}
