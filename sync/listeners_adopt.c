/* SPDX-License-Identifier: BSD-2-Clause */
#include "listeners_adopt.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mss.h"

struct group_key listener_group(const struct diag_socket *socket)
{
	return (struct group_key){
		.bound = socket->local, .port = socket->local_port, .family = socket->family};
}

void listener_write_group(struct listeners *listeners, const struct group_key *key)
{
	const struct maps *maps = &listeners->target->agent->maps;
	char text[ADDRESS_TEXT];
	struct group group;
	int err;

	instances_group(listeners->table, key, &group);
	err = group.members ? maps_put(maps, MAP_GROUPS, key, &group)
			    : maps_delete(maps, MAP_GROUPS, key);
	if (err && err != -ENOENT)
		log_error("group of listeners on %s: target/groups cannot be written: %s; its new "
			  "connections are spread by the kernel's hash",
			  endpoint_format(&key->bound, key->port, text), strerror(-err));
}

/* The first service that the instance serves; NO_NUMBER: several, or none. */
static uint16_t shown_service(const struct listeners *listeners, unsigned int slot)
{
	uint16_t shown = NO_NUMBER;
	bool serves[MAX_SERVICES];

	instances_services(listeners->table, slot, listeners->target->numbers, serves);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		if (!serves[i])
			continue;
		if (shown != NO_NUMBER)
			return NO_NUMBER;
		shown = i;
	}
	return shown;
}

int listener_write_instance(struct listeners *listeners, unsigned int slot)
{
	struct instance *instance = &listeners->table->instance[slot].kernel;
	__u32 key = slot;
	int err;

	if (instance->state == INSTANCE_READY || instance->state == INSTANCE_DRAINING)
		instance->service = shown_service(listeners, slot);
	err = maps_put(&listeners->target->agent->maps, MAP_INSTANCES, &key, instance);
	if (err)
		log_error("instance %llu: target/instances cannot be written: %s",
			  (unsigned long long)instance->id, strerror(-err));
	return err;
}

/* What can be told from the kernel's list alone. */
static const char *objection(const struct listeners *listeners, const struct diag_socket *socket,
			     const struct socket_owner *owner)
{
	if (socket->mptcp)
		return "an MPTCP listener cannot be steered; listen with plain TCP (Go: "
		       "GODEBUG=multipathtcp=0, or net.mptcp.enabled=0)";
	if (socket->ifindex)
		return "a listener that is bound to a device gets no steered connections; do not "
		       "use SO_BINDTODEVICE";
	if (!owner->pid)
		return "no process is seen to hold it; let limpetd see its process (same PID "
		       "namespace, /proc without hidepid), and listen with plain TCP, not MPTCP";
	if (listeners->steering &&
	    steering_of(listeners->steering, socket->cookie) == STEERED_BY_OTHERS)
		return WHY_STEERED;
	return NULL;
}

static int take(const struct candidate *candidate, char *why, size_t size)
{
	const struct socket_owner *owner = &candidate->owner;
	int fd = process_take_socket(owner->pid, owner->fd, candidate->socket.cookie);

	if (fd == -ENOENT)
		return -EAGAIN;
	if (fd < 0)
		snprintf(why, size,
			 "its descriptor cannot be borrowed: %s; limpetd needs CAP_SYS_PTRACE, and "
			 "kernel.yama.ptrace_scope below 3",
			 strerror(-fd));
	return fd;
}

static int check_socket(int fd, char *why, size_t size)
{
	int protocol = 0, reuse = 0;
	socklen_t length = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) ||
	    protocol != IPPROTO_TCP) {
		snprintf(why, size, "it is not a TCP listener; listen with plain TCP");
		return -EPROTONOSUPPORT;
	}
	length = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse, &length) || !reuse) {
		snprintf(why, size,
			 "it has no SO_REUSEPORT; set it before bind, in each worker (nginx: "
			 "`listen … reuseport;`, Python's asyncio: reuse_port=True, node 22.12: "
			 "reusePort: true)");
		return -ENOTSUP;
	}
	return 0;
}

/* The MSS that was chosen for it, 0: none, or -errno. The kernel's default stands for no choice,
 * and for that very number: which of them, the iterator knows. */
static int chosen_mss(const struct listeners *listeners, int fd, uint64_t cookie)
{
	int present = 0;
	socklen_t length = sizeof(present);

	if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &present, &length))
		return -errno;
	if (present != TCP_MSS_DEFAULT)
		return present;
	return listeners->steering ? (int)steering_mss(listeners->steering, cookie) : 0;
}

/* What `limpet unload` puts back. What it was lowered to earlier is no choice of the program's. */
static int note_mss(const struct listeners *listeners, int fd, int present, int mss)
{
	const struct maps *maps = &listeners->target->agent->maps;
	struct lowered_mss lowered = {0};
	__u32 socket = fd;
	int err = maps_get(maps, MAP_LOWERED_MSS, &socket, &lowered);

	if (err && err != -ENOENT)
		return err;
	if (!lowered.after || lowered.after != present)
		lowered.before = present;
	lowered.after = mss;
	return maps_put(maps, MAP_LOWERED_MSS, &socket, &lowered);
}

/* So that a client's full segments fit into the path with a router's outer header. A failure only
 * costs fragments, and they are counted. */
static void lower_mss(const struct listeners *listeners, int fd, const struct diag_socket *socket,
		      uint32_t pid)
{
	const struct config_target *config = &listeners->target->config->target;
	int mss = mss_of(listeners->mtu, !address_is_ipv4(&config->address),
			 socket->family == AF_INET6 && !address_is_ipv4(&socket->local));
	int present = chosen_mss(listeners, fd, socket->cookie);
	int err = present < 0 ? present : 0;

	/* The program's own choice stays if it is lower. */
	if (present > 0 && present <= mss)
		return;
	if (!err)
		err = note_mss(listeners, fd, present, mss);
	if (!err && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)))
		err = -errno;
	if (err)
		log_warning("listener of process %u: its MSS cannot be lowered to %d: %s; large "
			    "uploads through routers may hang",
			    pid, mss, strerror(-err));
}

/* Into the socket array, where the selector takes it from. */
static int put_listener(struct listeners *listeners, unsigned int slot, int fd,
			const struct candidate *candidate, char *why, size_t size)
{
	__u32 key = slot;
	__u64 value = fd;
	int err = maps_put(&listeners->target->agent->maps, MAP_LISTENERS, &key, &value);

	/* Between the event and the end of listen(2) it is not hashed yet. */
	if (err == -EINVAL && candidate->attempts < 5)
		return -EAGAIN;
	if (err == -EINVAL)
		snprintf(why, size,
			 "it is in no reuseport group; set SO_REUSEPORT before bind, not after");
	else if (err == -EBUSY)
		snprintf(why, size,
			 "another program steers it (it is in a socket array or socket map "
			 "already); leave its steering to one of the two");
	else if (err)
		snprintf(why, size, "target/listeners refuses it: %s", strerror(-err));
	return err;
}

static int put_note(struct listeners *listeners, int fd, const struct socket_note *note, char *why,
		    size_t size)
{
	__u32 socket = fd;
	int err = maps_put(&listeners->target->agent->maps, MAP_SOCKET_NOTES, &socket, note);

	if (err)
		snprintf(why, size, "target/socket_notes cannot be written: %s", strerror(-err));
	return err;
}

static bool is_steered_by_us(const struct listeners *listeners, uint64_t cookie)
{
	return listeners->steering && steering_of(listeners->steering, cookie) == STEERED_BY_US;
}

/* The kernel gives later joiners of the group the program by itself; attaching it again would only
 * replace what an application has attached since the look at who steers. From then on the note
 * keeps others from replacing it (bpf/request.bpf.c). */
static int attach(struct listeners *listeners, int fd, struct socket_note *note, char *why,
		  size_t size)
{
	int err = put_note(listeners, fd, note, why, size);

	if (err)
		return err;
	if (!is_steered_by_us(listeners, note->cookie) &&
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &listeners->target->selector,
		       sizeof(int))) {
		err = -errno;
		snprintf(why, size, "the selector cannot be attached: %s", strerror(-err));
		return err;
	}
	note->guarded = 1;
	return put_note(listeners, fd, note, why, size);
}

/* The steps in the order in which no connection is refused: the members are there before the
 * program that chooses among them is attached. */
static int steer(struct listeners *listeners, unsigned int slot, int fd,
		 const struct candidate *candidate, char *why, size_t size)
{
	const struct listener *listener = &listeners->table->listener[slot];
	struct socket_note note = {.cookie = listener->cookie, .instance = listener->instance + 1};
	int err;

	lower_mss(listeners, fd, &candidate->socket, candidate->owner.pid);
	err = put_listener(listeners, slot, fd, candidate, why, size);
	if (err)
		return err;
	err = listener_write_instance(listeners, listener->instance);
	if (err) {
		snprintf(why, size, "target/instances cannot be written");
		return err;
	}
	listener_write_group(listeners, &listener->group);
	return attach(listeners, fd, &note, why, size);
}

/* Connections that it accepts from now on are of no instance. */
static int clear_note(struct listeners *listeners, int fd, uint64_t cookie)
{
	const struct socket_note note = {.cookie = cookie};
	char why[WHY_SIZE];

	return put_note(listeners, fd, &note, why, sizeof(why));
}

static void undo(struct listeners *listeners, unsigned int slot, int fd)
{
	struct group_key group = listeners->table->listener[slot].group;
	__u32 key = slot;
	int ended;

	clear_note(listeners, fd, listeners->table->listener[slot].cookie);
	maps_delete(&listeners->target->agent->maps, MAP_LISTENERS, &key);
	ended = instances_remove(listeners->table, slot);
	listener_write_group(listeners, &group);
	if (ended < 0)
		return;
	instances_release(listeners->table, ended);
	listener_write_instance(listeners, ended);
}

int listener_forget(struct listeners *listeners, const struct candidate *candidate)
{
	char why[WHY_SIZE];
	int err, fd = take(candidate, why, sizeof(why));

	if (fd < 0)
		return fd;
	err = clear_note(listeners, fd, candidate->socket.cookie);
	close(fd);
	return err;
}

int listener_steer_again(struct listeners *listeners, const struct candidate *candidate)
{
	int slot = instances_find(listeners->table, candidate->socket.cookie), err, fd;
	struct socket_note note = {.cookie = candidate->socket.cookie};
	char why[WHY_SIZE];

	if (slot < 0)
		return slot;
	fd = take(candidate, why, sizeof(why));
	if (fd < 0)
		return fd;
	note.instance = listeners->table->listener[slot].instance + 1;
	err = attach(listeners, fd, &note, why, sizeof(why));
	close(fd);
	return err;
}

/* IPV6_V6ONLY makes groups different that have the same address and port. */
static bool other_v6only(const struct listeners *listeners, const struct group_key *group,
			 bool v6only)
{
	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		const struct listener *other = &listeners->table->listener[i];

		if (other->cookie && memcmp(&other->group, group, sizeof(*group)) == 0 &&
		    other->v6only != v6only)
			return true;
	}
	return false;
}

static int place(struct listeners *listeners, const struct candidate *candidate, char *why,
		 size_t size)
{
	const struct diag_socket *socket = &candidate->socket;
	struct group_key group = listener_group(socket);
	int slot;

	if (other_v6only(listeners, &group, socket->v6only)) {
		snprintf(why, size,
			 "other listeners on this address and port differ in IPV6_V6ONLY; give "
			 "all of them the same");
		return -EEXIST;
	}
	slot = instances_add(listeners->table, socket->cookie, &group, socket->v6only,
			     candidate->owner.pid, candidate->owner.start);
	if (slot == -EMLINK)
		snprintf(why, size,
			 "%d listeners share this address and port already; run fewer, or stop "
			 "some: it is adopted then",
			 MAX_MEMBERS);
	else if (slot < 0)
		snprintf(why, size,
			 "no slot is left for another listener or instance; stop some: it is "
			 "adopted then");
	return slot;
}

int listener_adopt(struct listeners *listeners, const struct candidate *candidate, char *why,
		   size_t size)
{
	const char *text = objection(listeners, &candidate->socket, &candidate->owner);
	int fd, slot, err;

	if (text) {
		snprintf(why, size, "%s", text);
		return -ENOTSUP;
	}
	fd = take(candidate, why, size);
	if (fd < 0)
		return fd;
	err = check_socket(fd, why, size);
	if (err)
		goto out;
	slot = place(listeners, candidate, why, size);
	if (slot < 0) {
		err = slot;
		goto out;
	}
	err = steer(listeners, slot, fd, candidate, why, size);
	if (err)
		undo(listeners, slot, fd);
out:
	/* A descriptor that is kept would keep the listener alive. */
	close(fd);
	return err;
}
