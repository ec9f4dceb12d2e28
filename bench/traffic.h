/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * traffic.h - the packets of the benchmark: services 198.18.0.1 and up (IPv6: 2001:db8:ffff::1 and
 * up), TCP port 80; flow n comes from client 10.0.0.0 + n (2001:db8:1::n), port WRAP_PORT(n). No
 * checksums: nothing here reads them.
 */
#ifndef LIMPET_BENCH_TRAFFIC_H
#define LIMPET_BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "wrap.h"

#define BENCH_PORT    80
#define BENCH_SERVICE "s%u" /* a service's name, of its number */
#define BENCH_ROUTER  "10.7.0.2"
#define BENCH_ROUTER6 "fd07::2"
#define BENCH_TARGET  "10.7.0.11" /* where packets are unwrapped */

enum packet_kind {
	PACKET_ACK,
	PACKET_SYN,
	PACKET_TOO_BIG, /* ICMP: fragmentation needed, about flow 0 */
	PACKET_OTHER,	/* an ACK for an address that is no service's */
	PACKET_WRAPPED	/* an ACK as a router sends it to BENCH_TARGET */
};

/* All zero but kind, family and length: flow 0. */
struct traffic {
	enum packet_kind kind;
	int family;		/* 4 or 6 */
	unsigned int length;	/* of the frame */
	enum wrap_order order;	/* of the flows */
	uint32_t flows, base;	/* flows base .. base + flows - 1 */
	uint32_t services;	/* they are spread over so many */
	bool fresh;		/* port and sequence number as of a new connection each time */
	unsigned int chunk_log; /* packets between two stamps: 2^chunk_log; 0: the usual number */
};

struct address bench_address(const char *text);
struct service_key bench_service(int family, uint32_t number);
/* The flow's client and, in network byte order, its port. */
struct address bench_client(int family, uint32_t flow, __be16 *port);

/* The frame of the first flow, into `frame`, `length` bytes. */
void traffic_frame(const struct traffic *traffic, uint8_t *frame);

#endif
