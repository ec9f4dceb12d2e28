/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kernel.h - the few members of the kernel's own structures that the target's programs read, by
 * CO-RE: the loader finds their true offsets in the running kernel's BTF, so neither order nor
 * completeness matters here.
 */
#ifndef LIMPET_KERNEL_H
#define LIMPET_KERNEL_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET	 2
#define AF_INET6 10

#define SOL_TCP	   6
#define TCP_MAXSEG 2

#define TCP_ESTABLISHED 1
#define TCP_SYN_RECV	3
#define TCP_FIN_WAIT1	4
#define TCP_CLOSE	7
#define TCP_CLOSE_WAIT	8
#define TCP_LISTEN	10

/* The numbers are the same on every architecture that BPF programs of this project are built for.
 */
#define EPERM	    1
#define ENOENT	    2
#define E2BIG	    7
#define EAGAIN	    11
#define ENOMEM	    12
#define EBUSY	    16
#define EEXIST	    17
#define EINVAL	    22
#define ENOSPC	    28
#define ENOPROTOOPT 92
#define EOPNOTSUPP  95

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
};

/* A map of type BPF_MAP_TYPE_REUSEPORT_SOCKARRAY. */
struct reuseport_array {
	struct sock *ptrs[1];
};

struct tcp_options_received {
	__u16 user_mss;
};

struct tcp_sock {
	struct tcp_options_received rx_opt;
};

struct signal_struct {
	atomic_t live;
};

struct task_struct {
	int tgid;
	struct signal_struct *signal;
};

#pragma clang attribute pop

/* A function that is not inlined: verified by itself, with a stack frame of its own. Not every
 * program uses every one. */
#define SUBPROGRAM static __attribute__((__noinline__, __unused__))

/*
 * What a pointer points to that the verifier gives, but allows no arithmetic on (a socket of a
 * program's context, a map): its address as a number, read from the stack that holds it.
 */
static __always_inline void *kernel_address(const void *pointer)
{
	const void *volatile held = pointer;
	void *address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (void *)&held);
	return address;
}

#endif
