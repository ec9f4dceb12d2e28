// SPDX-License-Identifier: BSD-2-Clause
/*
 * wrap.bpf.c - stands in front of the program under test, which is called by tail call as it is.
 *
 * BPF_PROG_TEST_RUN with a count does not restore the packet between two runs: the program would
 * see its own output. So the wrapper undoes the change of length, writes the first bytes anew,
 * picks the flow, and drains the store buffer with one locked add, which the program would
 * otherwise pay for. Time is taken in here, once in 2^chunk_shift packets: the system call itself
 * waits for RCU. What the wrapper costs is measured with `tx` under test, and subtracted.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "wrap.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct wrap_control control SEC(".data.control");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tested SEC(".maps");

static __always_inline __u32 pick_flow(void)
{
	__u32 flow;

	if (control.order == ORDER_SEQUENTIAL) {
		flow = control.next;
		control.next = flow + 1 < control.flows ? flow + 1 : 0;
	} else {
		/* Knuth's MMIX generator; the upper bits are the good ones. */
		control.next = control.next * 6364136223846793005ULL + 1442695040888963407ULL;
		flow = (control.next >> 32) * control.flows >> 32;
	}
	return flow + control.base;
}

/* No checksum is kept: no program here reads one. */
static __always_inline void patch(__u8 *packet)
{
	__u32 flow = pick_flow(), port = WRAP_PORT(flow), service, sequence = 0;
	int transport = control.family == 4 ? 34 : 54;

	if (control.fresh) {
		port = 1024 + (control.counter & 0x7fff);
		sequence = ++control.counter * WRAP_GOLDEN;
	}
	service = WRAP_SERVICE(flow, control.services);
	if (control.family == 4) {
		*(__u32 *)(packet + 26) = bpf_htonl(10 << 24 | (flow & 0xffffff));
		if (control.services > 1)
			*(__u16 *)(packet + 32) = bpf_htons(1 + service);
		*(__u16 *)(packet + 34) = bpf_htons(port);
		if (control.fresh)
			*(__u32 *)(packet + 38) = bpf_htonl(sequence);
		return;
	}
	*(__u32 *)(packet + 34) = bpf_htonl(flow);
	if (control.services > 1)
		*(__u16 *)(packet + 52) = bpf_htons(1 + service);
	*(__u16 *)(packet + transport) = bpf_htons(port);
	if (control.fresh)
		*(__u32 *)(packet + transport + 4) = bpf_htonl(sequence);
}

static __always_inline int restore(struct xdp_md *context)
{
	long length = (long)context->data_end - (long)context->data;
	__u64 *word;
	void *end;

	asm volatile("" : "+r"(length));
	if (bpf_xdp_adjust_head(context, (int)length - (int)control.length))
		return -1;
	word = (void *)(long)context->data;
	end = (void *)(long)context->data_end;
	if ((void *)word + 64 > end)
		return -1;
#pragma unroll
	for (int i = 0; i < 8; i++)
		word[i] = control.head[i];
	if (control.restore > 64) {
		if ((void *)word + WRAP_HEAD > end)
			return -1;
#pragma unroll
		for (int i = 8; i < WRAP_HEAD / 8; i++)
			word[i] = control.head[i];
	}
	if (control.family && (control.order != ORDER_FIXED || control.fresh))
		patch((__u8 *)word);
	__sync_fetch_and_add(&control.fence, 1);
	return 0;
}

SEC("xdp")
int wrap(struct xdp_md *context)
{
	__u64 number = control.packets++;

	if (!(number & ((1ULL << (control.chunk_shift & 31)) - 1)))
		control.stamp[number >> (control.chunk_shift & 31) & (WRAP_STAMPS - 1)] =
			bpf_ktime_get_ns();
	if (!restore(context))
		bpf_tail_call(context, &tested, 0);
	control.failed++;
	return XDP_ABORTED;
}

/* The same packets, sent by an interface: for throughput. */
SEC("xdp")
int generate(struct xdp_md *context)
{
	if (restore(context)) {
		control.failed++;
		return XDP_ABORTED;
	}
	return bpf_redirect(control.out, 0);
}

/* Where they arrive. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

SEC("xdp")
int sink(struct xdp_md *context)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&arrived, &zero);

	if (count)
		(*count)++;
	return XDP_DROP;
}
