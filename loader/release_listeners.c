/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sockets belong to other processes: sock_diag lists the listening ones of this network
 * namespace, /proc says who holds them, pidfd_getfd borrows them for a moment.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "log.h"
#include "release.h"

#define STATE_LISTEN 10 /* the kernel's TCP_LISTEN */

struct listener {
	__u64 cookie;
	__u32 inode;
	__be16 port;
	bool adopted, served; /* served: on a service's port */
	bool seen, changed;
};

struct listeners {
	const struct maps *maps;
	struct listener *all;
	size_t count, room;
};

/* ------------------------------------------------------------------------------------------
 * which */

static int add_listener(const struct nlmsghdr *message, void *context)
{
	const struct inet_diag_msg *found = mnl_nlmsg_get_payload(message);
	struct listeners *listeners = context;

	if (listeners->count == listeners->room) {
		size_t room = listeners->room ? listeners->room * 2 : 64;
		void *all = realloc(listeners->all, room * sizeof(*listeners->all));

		if (!all)
			return MNL_CB_ERROR;
		listeners->all = all;
		listeners->room = room;
	}
	listeners->all[listeners->count++] = (struct listener){
		.cookie = (__u64)found->id.idiag_cookie[1] << 32 | found->id.idiag_cookie[0],
		.inode = found->idiag_inode,
		.port = found->id.idiag_sport,
	};
	return MNL_CB_OK;
}

static int dump_family(struct mnl_socket *socket, int family, struct listeners *listeners)
{
	char buffer[32768];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request;
	unsigned int portid = mnl_socket_get_portid(socket);
	int result;

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = family;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = 1 << STATE_LISTEN;
	if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (length < 0)
			return -errno;
		result = mnl_cb_run(buffer, length, family, portid, add_listener, listeners);
	} while (result > MNL_CB_STOP);
	return result < 0 ? -errno : 0;
}

static int dump_listeners(struct listeners *listeners)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int error;

	if (!socket)
		return -errno;
	error = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) ? -errno : 0;
	if (!error)
		error = dump_family(socket, AF_INET, listeners);
	if (!error)
		error = dump_family(socket, AF_INET6, listeners);
	mnl_socket_close(socket);
	return error;
}

/* An adopted listener's cookie is in target/listeners. */
static int mark_adopted(void *context, const void *key, const void *value)
{
	struct listeners *listeners = context;
	__u64 cookie;

	(void)key;
	memcpy(&cookie, value, sizeof(cookie));
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->all[i].cookie == cookie)
			listeners->all[i].adopted = true;
	return 0;
}

struct ports {
	bool served[65536];
};

static int mark_port(void *context, const void *key, const void *value)
{
	const struct service_key *service = key;
	struct ports *ports = context;

	(void)value;
	ports->served[ntohs(service->port)] = true;
	return 0;
}

/* Any of them may have a lowered MSS, by its socket's note, which its descriptor alone leads to:
 * its service may be gone from the configuration. One that nobody lends is missed where Limpet is
 * likely to have changed it. */
static void mark(struct listeners *listeners, const struct maps *maps)
{
	static struct ports ports;

	maps_walk(maps, MAP_LISTENERS, mark_adopted, listeners);
	maps_walk(maps, MAP_SERVED, mark_port, &ports);
	ports.served[0] = false;
	for (size_t i = 0; i < listeners->count; i++)
		listeners->all[i].served = ports.served[ntohs(listeners->all[i].port)];
}

/* ------------------------------------------------------------------------------------------
 * whose */

static void detach(const struct maps *maps, const struct listener *listener, int fd)
{
	struct socket_note note = {.cookie = listener->cookie};
	__u32 socket = fd;
	int zero = 0;

	/* Noted and not guarded: without a note of its own nobody may detach the selector. */
	maps_put(maps, MAP_SOCKET_NOTES, &socket, &note);
	if (setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &zero, sizeof(zero)) &&
	    errno != ENOENT) /* another of its group was first */
		log_warning("a listener on port %u: the selector cannot be detached: %s",
			    ntohs(listener->port), strerror(errno));
	maps_delete(maps, MAP_SOCKET_NOTES, &socket);
}

/* The MSS that it had before it was lowered, unless the program has chosen anew; whether it was put
 * back. */
static bool give_mss_back(const struct maps *maps, const struct listener *listener, int fd)
{
	struct lowered_mss lowered;
	int present = 0, before;
	socklen_t length = sizeof(present);
	__u32 socket = fd;
	bool back = false;

	if (maps_get(maps, MAP_LOWERED_MSS, &socket, &lowered))
		return false;
	before = lowered.before;
	if (!getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &present, &length) &&
	    present == lowered.after) {
		back = !setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &before, sizeof(before));
		if (!back)
			log_warning("a listener on port %u: its MSS cannot be put back to %d: %s; "
				    "restart its program to have it as it was",
				    ntohs(listener->port), before, strerror(errno));
	}
	maps_delete(maps, MAP_LOWERED_MSS, &socket);
	return back;
}

static void release(const struct maps *maps, struct listener *listener, int fd)
{
	socklen_t length = sizeof(__u64);
	__u64 cookie;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) || cookie != listener->cookie)
		return;
	listener->seen = true;
	if (listener->adopted)
		detach(maps, listener, fd);
	listener->changed = give_mss_back(maps, listener, fd) || listener->adopted;
}

static struct listener *find_inode(const struct listeners *listeners, unsigned long inode)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->all[i].inode == inode && !listeners->all[i].seen)
			return &listeners->all[i];
	return NULL;
}

/* One descriptor of one process. */
static void try_descriptor(const struct listeners *listeners, int process, int descriptors,
			   const char *name)
{
	struct listener *listener;
	unsigned long inode;
	char target[64];
	ssize_t length = readlinkat(descriptors, name, target, sizeof(target) - 1);
	int fd;

	if (length < 0)
		return;
	target[length] = 0;
	if (sscanf(target, "socket:[%lu]", &inode) != 1)
		return;
	listener = find_inode(listeners, inode);
	if (!listener)
		return;
	fd = (int)syscall(SYS_pidfd_getfd, process, atoi(name), 0);
	if (fd < 0)
		return;
	release(listeners->maps, listener, fd);
	close(fd);
}

static void try_process(const struct listeners *listeners, const char *pid)
{
	char path[64];
	struct dirent *entry;
	DIR *descriptors;
	int process = (int)syscall(SYS_pidfd_open, atoi(pid), 0);

	if (process < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	descriptors = opendir(path);
	while (descriptors && (entry = readdir(descriptors)))
		try_descriptor(listeners, process, dirfd(descriptors), entry->d_name);
	if (descriptors)
		closedir(descriptors);
	close(process);
}

unsigned int release_listeners(const struct maps *maps)
{
	struct listeners listeners = {.maps = maps};
	int error = dump_listeners(&listeners);
	unsigned int released = 0;
	struct dirent *entry;
	DIR *processes;

	if (error)
		log_warning("the listening sockets cannot be listed: %s", strerror(-error));
	mark(&listeners, maps);
	processes = listeners.count ? opendir("/proc") : NULL;
	while (processes && (entry = readdir(processes)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			try_process(&listeners, entry->d_name);
	if (processes)
		closedir(processes);

	for (size_t i = 0; i < listeners.count; i++) {
		released += listeners.all[i].changed;
		if (!listeners.all[i].seen && (listeners.all[i].adopted || listeners.all[i].served))
			log_warning("a listener on port %u: no process could be found that lends "
				    "it; restart its program to have it as it was",
				    ntohs(listeners.all[i].port));
	}
	free(listeners.all);
	return released;
}
