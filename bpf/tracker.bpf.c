// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tracker.bpf.c - sees every listener and every connection of a service come and go, and every end
 * of a process that has asked for an affinity; keeps target/connections and the counts.
 *
 * Tracing programs see all network namespaces of the machine: ours alone count here. What is
 * tracked is what the kernel has accepted: connections from SYN_RECV; those that this node opens
 * itself are not.
 */
#include "connection.h"
#include "service.h"

/* Set before loading. netns_cookie: the namespace of this node (0: any). mss_*: the largest segment
 * that a service's listener may ask for, so that a full one still fits when it is encapsulated (0:
 * as it is). */
const volatile __u64 netns_cookie = 0;
const volatile __u32 mss_ipv4 = 0;
const volatile __u32 mss_ipv6 = 0;

static __always_inline bool is_tracked(struct sock *sk)
{
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	return !netns_cookie ||
	       BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie) == netns_cookie;
}

static __always_inline void read_addresses(struct sock *sk, struct ends *ends)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		address_from_ip4(&ends->client, BPF_CORE_READ(sk, __sk_common.skc_daddr));
		address_from_ip4(&ends->local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		return;
	}
	BPF_CORE_READ_INTO(&ends->client, sk, __sk_common.skc_v6_daddr);
	BPF_CORE_READ_INTO(&ends->local, sk, __sk_common.skc_v6_rcv_saddr);
}

static __always_inline void read_ends(struct sock *sk, struct ends *ends)
{
	read_addresses(sk, ends);
	ends->client_port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	ends->local_port = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
}

/* A first connection makes the affinity, where the service says so. */
static __always_inline void make_timed(const struct target_service *service, __u32 number,
				       const struct opened *opened, __u32 slot)
{
	struct instance *instance = bpf_map_lookup_elem(&instances, &slot);
	struct affinity_claim claim = {
		.idle_ns = service->idle_ns,
		.service_life_ns = service->max_life_ns,
		.instance = slot,
		.service = number,
		.flags = AFFINITY_FLAG_TIMED,
	};
	struct affinity_key key;
	int error;

	if (!instance || instance->state != INSTANCE_READY)
		return;
	affinity_key_make(&key, opened->scope, opened->client_prefix, &opened->key.client);
	error = affinity_make(&key, &claim);
	if (!error)
		count(COUNT_AFFINITY_TIMED);
	else if (error == -ENOSPC)
		count(COUNT_AFFINITY_FULL);
}

static __always_inline void established(struct sock *sk, bool again)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct opened opened = {};
	struct target_service *service;
	struct socket_note *note;
	__u32 number = 0, slot = NO_INSTANCE;
	struct ends ends;

	read_ends(sk, &ends);
	service = service_of(&ends, &number);
	if (!service || bpf_map_lookup_elem(&sockets, &cookie))
		return; /* none of ours, or entered already */
	note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	if (note && note->instance && note->instance <= MAX_INSTANCES)
		slot = note->instance - 1;
	opened.key.client = ends.client;
	opened.key.client_port = ends.client_port;
	opened.key.service = number;
	opened.scope = service->scope;
	opened.client_prefix = service->client_prefix;
	if (connection_open(cookie, &opened, slot, again))
		return;
	if (service->affinity == AFFINITY_BY_TIME && slot != NO_INSTANCE)
		make_timed(service, number, &opened, slot);
}

/* The agent adopts it, if it is a service's. It is not in the kernel's tables yet. */
static __always_inline void listens(struct sock *sk)
{
	struct event *event = event_begin(EVENT_LISTEN);
	struct ends ends = {};

	if (!event)
		return;
	read_ends(sk, &ends);
	event->cookie = bpf_get_socket_cookie(sk);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->key.connection.client = ends.local;
	event->key.connection.client_port = ends.local_port;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void listens_no_more(struct sock *sk)
{
	struct event *event = event_begin(EVENT_LISTEN_END);

	if (!event)
		return;
	event->cookie = bpf_get_socket_cookie(sk);
	bpf_ringbuf_submit(event, 0);
}

/* From these states a socket closes at once only when it is reset, by either end. */
static __always_inline __u8 how_closed(int before)
{
	return before == TCP_ESTABLISHED || before == TCP_CLOSE_WAIT ? CONNECTION_END_RESET
								     : CONNECTION_END_CLOSED;
}

/* Also what Fast Open has given to a server that closes before its client's handshake is complete:
 * data flows all the same. */
static __always_inline bool has_opened(int before, int after)
{
	return before == TCP_SYN_RECV && (after == TCP_ESTABLISHED || after == TCP_FIN_WAIT1);
}

static __always_inline void track_connection(struct sock *sk, int before, int after, bool again)
{
	if (has_opened(before, after))
		established(sk, again);
	else
		connection_close(bpf_get_socket_cookie(sk), how_closed(before));
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(track_state, struct sock *sk, int before, int after)
{
	if (!has_opened(before, after) && after != TCP_CLOSE && after != TCP_LISTEN)
		return 0;
	if (!is_tracked(sk))
		return 0;
	if (after == TCP_LISTEN)
		listens(sk);
	else if (before == TCP_LISTEN)
		listens_no_more(sk);
	else
		track_connection(sk, before, after, false);
	return 0;
}

/*
 * The same for connections, once more. The kernel does not run a tracing program on a CPU where it
 * is running already, and says so to nobody: a packet that comes in while a process closes another
 * connection would be missed. It interrupts one of the two programs at most; the other one runs. To
 * enter what is entered, or to remove what is gone, does nothing. Listeners come and go in
 * processes only.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(track_again, struct sock *sk, int before, int after)
{
	if (before == TCP_LISTEN || (!has_opened(before, after) && after != TCP_CLOSE))
		return 0;
	if (is_tracked(sk))
		track_connection(sk, before, after, true);
	return 0;
}

/* With the last thread of a process that has asked, what it has asked for ends: its incarnation is
 * looked up wherever an affinity is. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(track_exit, struct task_struct *task)
{
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct event *event;

	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	if (bpf_map_delete_elem(&processes, &pid))
		return 0;
	event = event_begin(EVENT_PROCESS_END);
	if (!event)
		return 0;
	event->pid = pid;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

struct port_search {
	__be16 port;
	bool found;
};

static long service_has_port(__u32 number, struct port_search *search)
{
	struct target_service *service = service_by_number(number);

	search->found = service && service->key.port == search->port;
	return search->found;
}

/* Bound to a service's address, or to all addresses on a service's port. */
static __always_inline bool listens_for_service(struct bpf_sock *sk, __u32 family)
{
	struct ends ends;
	struct port_search search = {};
	bool wildcard;
	__u32 number;

	ends_of_socket(sk, &ends);
	wildcard = family == AF_INET
			   ? !sk->src_ip4
			   : !(sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3]);
	if (!wildcard)
		return service_of(&ends, &number);
	search.port = ends.local_port;
	bpf_loop(MAX_SERVICES, service_has_port, &search, 0);
	return search.found;
}

/* What `limpet unload` puts back. */
static __always_inline int note_mss(struct bpf_sock *sk, __u16 present, __u16 mss)
{
	struct lowered_mss *lowered =
		bpf_sk_storage_get(&lowered_mss, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!lowered)
		return -ENOMEM;
	lowered->before = present;
	lowered->after = mss;
	return 0;
}

/* sock_ops, for what tracing cannot do: the segments that a service's clients send must fit into
 * the encapsulation, from the first handshake on. */
SEC("sockops")
int lower_mss(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp;
	__u16 present = 0;
	int mss;

	if (ctx->op != BPF_SOCK_OPS_TCP_LISTEN_CB || !sk)
		return 1;
	if (netns_cookie && bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	/* An IPv6 listener may serve both: its value is the smaller one. */
	mss = ctx->family == AF_INET ? mss_ipv4 : mss_ipv6;
	if (!mss || !listens_for_service(sk, ctx->family))
		return 1;
	tcp = kernel_address(sk);
	bpf_core_read(&present, sizeof(present), &tcp->rx_opt.user_mss);
	if (present && present <= mss)
		return 1;
	/* What could not be undone is left to limpetd, which tries again, and says so. */
	if (note_mss(sk, present, mss))
		return 1;
	bpf_setsockopt(ctx, SOL_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
