/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bars are those of docs/PERFORMANCE.md: Katran's figures over the floor's on one machine,
 * times what Limpet may take of Katran's time.
 */
#include "cases.h"

#include <linux/bpf.h>

#define FLOW_LIMIT (1U << 24) /* client addresses that the wrapper can make */
#define TARGETS	   100
#define FULL	   (1100 * 1024)

/* family, services, connections, affinities */
#define ROUTER_SCENE(f, s, c, a)                                                                   \
	{                                                                                          \
		.family = (f), .services = (s), .targets = TARGETS, .connections = (c),            \
		.affinities = (a)                                                                  \
	}

#define ACK_TRAFFIC(f, bytes, n, s)                                                                \
	{                                                                                          \
		.kind = PACKET_ACK, .family = (f), .length = (bytes), .flows = (n),                \
		.order = (n) > 1 ? ORDER_RANDOM : ORDER_FIXED, .services = (s)                     \
	}

#define SYN_TRAFFIC(n, how)                                                                        \
	{                                                                                          \
		.kind = PACKET_SYN, .family = 4, .length = 64, .flows = (n), .order = (how),       \
		.fresh = true                                                                      \
	}

/* Packets of established connections. */
#define ESTABLISHED(family, bytes, flows, services)                                                \
	.scene = ROUTER_SCENE(family, services, flows, 0),                                         \
	.traffic = ACK_TRAFFIC(family, bytes, flows, services), .verdict = XDP_TX,                 \
	.counted = COUNT_FORWARDED_PACKETS

/* Of flows that are not, while a million others are. */
#define UNKNOWN_ACKS(...)                                                                          \
	.scene = ROUTER_SCENE(4, 1, MILLION, 0),                                                   \
	.traffic = {.kind = PACKET_ACK,                                                            \
		    .family = 4,                                                                   \
		    .length = 64,                                                                  \
		    .flows = FLOW_LIMIT - MILLION,                                                 \
		    .base = MILLION,                                                               \
		    .order = ORDER_SEQUENTIAL,                                                     \
		    __VA_ARGS__},                                                                  \
	.floor_established = true, .prepare = FULL

/* SYNs of new clients, while a million connections are established. */
#define NEW(clients, how)                                                                          \
	.scene = ROUTER_SCENE(4, 1, MILLION, 0), .traffic = SYN_TRAFFIC(clients, how),             \
	.floor_established = true, .prepare = FULL, .verdict = XDP_TX,                             \
	.counted = COUNT_NEW_DISTRIBUTED

/* SYNs of clients that hold affinities. */
#define RETURNING(clients)                                                                         \
	.scene = ROUTER_SCENE(4, 1, MILLION, clients),                                             \
	.traffic = SYN_TRAFFIC(clients, ORDER_RANDOM), .floor_established = true, .prepare = FULL, \
	.verdict = XDP_TX, .counted = COUNT_NEW_AFFINITY

/* At a target. */
#define UNWRAPPED(bytes)                                                                           \
	.scene = {.is_target = true, .family = 4, .connections = 1},                               \
	.traffic = {.kind = PACKET_WRAPPED, .family = 4, .length = (bytes)},                       \
	.floor = FLOOR_UNWRAP, .verdict = XDP_PASS, .counted = COUNT_DECAP_PACKETS

const struct bench_case bench_cases[] = {
	{"v4_ack_1", "established, 1 flow", ESTABLISHED(4, 64, 1, 1), .must = 1.0, .stretch = 0.6},
	{"v4_ack1400_1", "the same, 1400 bytes", ESTABLISHED(4, 1400, 1, 1), .must = 1.4,
	 .stretch = 0.84},
	{"v4_icmp_fn", "ICMP fragmentation needed", .scene = ROUTER_SCENE(4, 1, 1, 0),
	 .traffic = {.kind = PACKET_TOO_BIG, .family = 4, .length = 96}, .floor = FLOOR_TOO_BIG,
	 .verdict = XDP_TX, .counted = COUNT_ICMP_RELAYED, .must = 2.38, .stretch = 1.32},
	{"v4_other", "no service", .scene = ROUTER_SCENE(4, 1, 1, 0),
	 .traffic = {.kind = PACKET_OTHER, .family = 4, .length = 64}, .verdict = XDP_PASS,
	 .counted = COUNT_PASS_NO_SERVICE, .must = 1.2, .stretch = 0.48},
	{"v4_ack_100k", "established, 100k flows", ESTABLISHED(4, 64, 100000, 1), .must = 0.95,
	 .stretch = 0.68},
	{"v4_ack_100k_16", "the same, 16 services", ESTABLISHED(4, 64, 100000, 16), .must = 0.95,
	 .stretch = 0.68},
	{"v4_ack_1m", "established, 1M flows", ESTABLISHED(4, 64, MILLION, 1), .must = 0.7,
	 .stretch = 0.49},
	{"v4_syn", "SYN, below 125,000 a second", NEW(MILLION, ORDER_RANDOM), .packets = PACED,
	 .pace_ms = PACE_MS, .must = 0.81, .stretch = 0.57},
	{"v4_synflood", "SYN flood", NEW(FLOW_LIMIT, ORDER_SEQUENTIAL), .packets = MILLION,
	 .must = 0.39, .stretch = 0.24},
	{"v4_first_ack", "first ACK", UNKNOWN_ACKS(.chunk_log = HANDSHAKES_LOG),
	 .packets = 16 << HANDSHAKES_LOG, .handshake = true, .verdict = XDP_TX,
	 .counted = COUNT_FLOW_HALF_OPEN},
	{"v4_ackflood", "ACKs of unknown flows", UNKNOWN_ACKS(.fresh = true), .verdict = XDP_DROP,
	 .counted = COUNT_HELD_SIGHTING},
	{"v4_syn_aff_1", "SYN, affinity among 1", RETURNING(1)},
	{"v4_syn_aff_100k", "SYN, affinity among 100k", RETURNING(100000)},
	{"v4_syn_aff_1m", "SYN, affinity among 1M", RETURNING(MILLION)},
	{"v6_ack_1", "IPv6, established, 1 flow", ESTABLISHED(6, 96, 1, 1), .must = 1.05,
	 .stretch = 0.63},
	{"v6_ack_1m", "IPv6, established, 1M flows", ESTABLISHED(6, 96, MILLION, 1), .must = 0.64,
	 .stretch = 0.44},
	{"v4_decap", "target: unwrap", UNWRAPPED(84)},
	{"v4_decap1400", "the same, 1400 bytes", UNWRAPPED(1400)},
};
const unsigned int bench_case_count = sizeof(bench_cases) / sizeof(bench_cases[0]);

/* ------------------------------------------------------------------------------------------------
 * growth */

static void grow_flows(uint32_t step, struct bench_case *made)
{
	*made = (struct bench_case){ESTABLISHED(4, 64, step, 1)};
}

static void grow_services(uint32_t step, struct bench_case *made)
{
	*made = (struct bench_case){ESTABLISHED(4, 64, 100000, step)};
}

static void grow_targets(uint32_t step, struct bench_case *made)
{
	*made = (struct bench_case){ESTABLISHED(4, 64, 100000, 1)};
	made->scene.targets = step;
}

static void grow_targets_syn(uint32_t step, struct bench_case *made)
{
	*made = (struct bench_case){NEW(MILLION, ORDER_RANDOM)};
	made->scene.targets = step;
}

static void grow_affinities(uint32_t step, struct bench_case *made)
{
	if (step)
		*made = (struct bench_case){RETURNING(step)};
	else
		*made = (struct bench_case){NEW(MILLION, ORDER_RANDOM)};
}

static const uint32_t flows[] = {1, 100, 1000, 10000, 100000, 300000, MILLION, 4 * MILLION};
static const uint32_t services[] = {1, 4, 16, 64, 256, 512};
static const uint32_t targets[] = {1, 10, 100, 1000, 4096};
static const uint32_t affinities[] = {0, 1, 1000, 10000, 100000, MILLION};

#define SERIES(name, text, steps, make)                                                            \
	{                                                                                          \
		name, text, steps, sizeof(steps) / sizeof((steps)[0]), make                        \
	}

const struct bench_series bench_series[] = {
	SERIES("flows", "established flows", flows, grow_flows),
	SERIES("services", "services, 100k flows", services, grow_services),
	SERIES("targets", "targets, 100k flows", targets, grow_targets),
	SERIES("targets_syn", "targets, SYN", targets, grow_targets_syn),
	SERIES("affinities", "affinities, SYN", affinities, grow_affinities),
};
const unsigned int bench_series_count = sizeof(bench_series) / sizeof(bench_series[0]);
