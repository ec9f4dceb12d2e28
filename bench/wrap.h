/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wrap.h - what user space and the wrapper (wrap.bpf.c) share: which packet, which flows, and the
 * times that the wrapper has taken.
 */
#ifndef LIMPET_BENCH_WRAP_H
#define LIMPET_BENCH_WRAP_H

#include <linux/types.h>

#define WRAP_HEAD   96 /* bytes of the packet that are written anew for every run */
#define WRAP_STAMPS 1024

enum wrap_order { ORDER_FIXED, ORDER_SEQUENTIAL, ORDER_RANDOM };

/* A flow's client port: of all numbers a spread that differs from that of the addresses. */
#define WRAP_GOLDEN	  0x9E3779B1U
#define WRAP_PORT(number) (1024 + ((((__u32)(number)) * WRAP_GOLDEN) >> 17 & 0x7fff))
/* Which of so many services a flow is for. */
#define WRAP_SERVICE(flow, n) ((__u32)((__u64)((__u32)(flow)*WRAP_GOLDEN) * (n) >> 32))

struct wrap_control {
	__u64 head[WRAP_HEAD / 8];
	__u32 length;  /* of the packet */
	__u32 restore; /* bytes of `head` to write: 64 or 96 */
	__u32 family;  /* 4 or 6: patch the flow in; 0: the packet is as in `head` */
	__u32 order;   /* enum wrap_order */
	__u32 flows;   /* numbers 0 .. flows - 1, plus base */
	__u32 base;
	__u32 services;	   /* spread the flows over so many; 1: as in `head` */
	__u32 fresh;	   /* client port and sequence number from a counter: every SYN is new */
	__u32 chunk_shift; /* a stamp every 2^chunk_shift packets */
	__u32 out;	   /* interface that `generate` sends by */

	/* State of the wrapper. */
	__u64 next; /* flow number, or the random state */
	__u64 counter;
	__u64 packets;
	__u64 fence;
	__u64 failed; /* packets that could not be restored */
	__u64 stamp[WRAP_STAMPS];
};

#endif
