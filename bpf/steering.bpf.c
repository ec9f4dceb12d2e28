// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * steering.bpf.c - which program, if any, chooses among the listeners of a reuseport group, and
 * which MSS was chosen for a listener. The kernel tells it in no other way; without knowing,
 * limpetd would replace a program of the application's own, and take an MSS of 536 for none, which
 * getsockopt answers both ways. An iterator over TCP sockets: limpetd loads it, reads it and keeps
 * nothing.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

#define TCP_LISTEN 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	volatile unsigned char skc_state;
	atomic64_t skc_cookie;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct sock_reuseport {
	struct bpf_prog *prog;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_reuseport *sk_reuseport_cb;
};

struct tcp_options_received {
	__u16 user_mss;
};

struct tcp_sock {
	struct tcp_options_received rx_opt;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

SEC("iter/tcp")
int steering(struct bpf_iter__tcp *context)
{
	struct sock_common *common = context->sk_common;
	struct steered steered = {};
	struct bpf_prog *program;
	struct sock *sk = (struct sock *)common;

	if (!common || common->skc_state != TCP_LISTEN)
		return 0;
	program = BPF_CORE_READ(sk, sk_reuseport_cb, prog);
	steered.chosen_mss = BPF_CORE_READ((struct tcp_sock *)sk, rx_opt.user_mss);
	if (!program && !steered.chosen_mss)
		return 0;
	steered.cookie = common->skc_cookie.counter;
	if (program) {
		steered.has_program = 1;
		steered.program = BPF_CORE_READ(program, aux, id);
	}
	bpf_seq_write(context->meta->seq, &steered, sizeof(steered));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
