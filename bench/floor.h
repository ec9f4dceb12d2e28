/* SPDX-License-Identifier: BSD-2-Clause */
/* floor.h - keys and values of the floors' maps (floor.bpf.c). */
#ifndef LIMPET_BENCH_FLOOR_H
#define LIMPET_BENCH_FLOOR_H

#include <linux/types.h>

#define FLOOR_TARGETS 4096

struct floor_key4 {
	__be32 client, service;
	__be16 client_port, service_port;
	__u32 protocol;
};

struct floor_key6 {
	__be32 client[4], service[4];
	__be16 client_port, service_port;
	__u32 protocol;
};

/* As long as what a balancer would keep: who, and a time. */
struct floor_flow {
	__u32 target;
	__u32 zero;
	__u64 seen;
};

struct floor_target {
	__be32 address[4]; /* IPv4: in the first */
	__u8 mac[6];
	__u16 zero;
};

#endif
