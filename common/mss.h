/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mss.h - the largest TCP segment that a service's listener may ask for, so that a client's full
 * packet still fits into the path after a router has wrapped it (RFC 2003, RFC 2473). The loader
 * needs it for the sockets that are made from now on, the agent for listeners that are there
 * already.
 */
#ifndef LIMPET_MSS_H
#define LIMPET_MSS_H

#include <stdbool.h>

#define MSS_IPV4_HEADER 20
#define MSS_IPV6_HEADER 40
#define MSS_TCP_HEADER	20
#define MSS_SMALLEST	88 /* the kernel's TCP_MIN_MSS: it refuses less */

/*
 * mtu: the smallest of the target's interfaces, in bytes of IP. outer_ipv6: target.address is IPv6.
 * inner_ipv6: the clients' packets are; a listener that serves both gets the smaller, IPv6's.
 */
static inline int mss_of(int mtu, bool outer_ipv6, bool inner_ipv6)
{
	int mss = mtu - (outer_ipv6 ? MSS_IPV6_HEADER : MSS_IPV4_HEADER) -
		  (inner_ipv6 ? MSS_IPV6_HEADER : MSS_IPV4_HEADER) - MSS_TCP_HEADER;

	return mss < MSS_SMALLEST ? MSS_SMALLEST : mss;
}

#endif
