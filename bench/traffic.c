/* SPDX-License-Identifier: BSD-2-Clause */
#include "traffic.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <string.h>

#include "address.h"

#define ICMP_LENGTH 8

struct address bench_address(const char *text)
{
	struct address address = {};

	address_parse(text, &address);
	return address;
}

/* Add to an address's last four bytes. */
static struct address address_plus(struct address address, uint32_t number)
{
	uint32_t last;

	memcpy(&last, address.byte + 12, sizeof(last));
	last = htonl(ntohl(last) + number);
	memcpy(address.byte + 12, &last, sizeof(last));
	return address;
}

struct service_key bench_service(int family, uint32_t number)
{
	struct address first = bench_address(family == 4 ? "198.18.0.1" : "2001:db8:ffff::1");

	return (struct service_key){.address = address_plus(first, number),
				    .port = htons(BENCH_PORT),
				    .protocol = IPPROTO_TCP};
}

struct address bench_client(int family, uint32_t flow, __be16 *port)
{
	struct address first = bench_address(family == 4 ? "10.0.0.0" : "2001:db8:1::");

	*port = htons(WRAP_PORT(flow));
	return address_plus(first, flow);
}

static uint8_t *put_eth(uint8_t *at, int family)
{
	struct ethhdr *eth = (void *)at;

	memcpy(eth->h_dest, "\x02\x00\x00\x00\x00\x01", ETH_ALEN);
	memcpy(eth->h_source, "\x02\x00\x00\x00\x00\x02", ETH_ALEN);
	eth->h_proto = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
	return at + sizeof(*eth);
}

/* `length` with this header. */
static uint8_t *put_ip4(uint8_t *at, unsigned int length, uint8_t protocol,
			const struct address *source, const struct address *destination)
{
	struct iphdr *ip = (void *)at;

	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons(length);
	ip->frag_off = htons(0x4000);
	ip->ttl = 60;
	ip->protocol = protocol;
	memcpy(&ip->saddr, source->byte + 12, 4);
	memcpy(&ip->daddr, destination->byte + 12, 4);
	return at + sizeof(*ip);
}

static uint8_t *put_ip6(uint8_t *at, unsigned int length, const struct address *source,
			const struct address *destination)
{
	struct ipv6hdr *ip = (void *)at;

	ip->version = 6;
	ip->payload_len = htons(length - sizeof(*ip));
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = 60;
	memcpy(&ip->saddr, source, sizeof(*source));
	memcpy(&ip->daddr, destination, sizeof(*destination));
	return at + sizeof(*ip);
}

static void put_tcp(uint8_t *at, __be16 source, __be16 destination, bool syn)
{
	struct tcphdr *tcp = (void *)at;

	tcp->source = source;
	tcp->dest = destination;
	tcp->seq = htonl(!syn); /* the handshake's SYN has 0 */
	tcp->doff = 5;
	tcp->syn = syn;
	tcp->ack = !syn;
	tcp->window = htons(0xffff);
}

static void put_packet(uint8_t *at, unsigned int length, const struct traffic *traffic)
{
	struct service_key service = bench_service(traffic->family, 0);
	__be16 port;
	struct address client = bench_client(traffic->family, traffic->base, &port);

	if (traffic->kind == PACKET_OTHER)
		service.address = bench_address("198.19.0.1");
	if (traffic->family == 4)
		at = put_ip4(at, length, IPPROTO_TCP, &client, &service.address);
	else
		at = put_ip6(at, length, &client, &service.address);
	put_tcp(at, port, service.port, traffic->kind == PACKET_SYN);
}

static void put_too_big(uint8_t *at, unsigned int length, const struct traffic *traffic)
{
	struct service_key service = bench_service(4, 0);
	struct address hop = bench_address("192.0.2.1");
	__be16 port;
	struct address client = bench_client(4, traffic->base, &port);

	at = put_ip4(at, length, IPPROTO_ICMP, &hop, &service.address);
	at[0] = 3; /* unreachable: */
	at[1] = 4; /* fragmentation needed */
	*(__be16 *)(at + 6) = htons(1400);
	at = put_ip4(at + ICMP_LENGTH, 1500, IPPROTO_TCP, &service.address, &client);
	put_tcp(at, service.port, port, false);
}

void traffic_frame(const struct traffic *traffic, uint8_t *frame)
{
	struct address router = bench_address(BENCH_ROUTER), target = bench_address(BENCH_TARGET);
	unsigned int length = traffic->length - sizeof(struct ethhdr);
	uint8_t *at;

	memset(frame, 0, traffic->length);
	at = put_eth(frame, traffic->family);
	if (traffic->kind == PACKET_TOO_BIG) {
		put_too_big(at, length, traffic);
		return;
	}
	if (traffic->kind == PACKET_WRAPPED) {
		at = put_ip4(at, length, IPPROTO_IPIP, &router, &target);
		length -= sizeof(struct iphdr);
	}
	put_packet(at, length, traffic);
}
