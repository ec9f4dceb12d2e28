/* SPDX-License-Identifier: BSD-2-Clause */
#include "probe.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "log.h"

#define HOPS 64

struct prober {
	int fd4, fd6;
	uint8_t packet[PROBE_SIZE_MAX];
};

enum path_state path_judge(uint64_t sent, uint64_t opened, uint64_t small, uint64_t full)
{
	bool small_seen = small > opened && small <= sent && sent - small <= PROBE_WINDOW;
	bool full_seen = full > opened && full <= sent && sent - full <= PROBE_WINDOW;

	if (small_seen && full_seen)
		return PATH_OK;
	if (sent - opened <= PROBE_WINDOW)
		return PATH_UNKNOWN;
	return small_seen ? PATH_MTU : PATH_BROKEN;
}

const char *path_name(enum path_state state)
{
	static const char *const names[] = {"unknown", "ok", "mtu", "broken"};

	return names[state];
}

/* RFC 1071 */
static uint32_t sum(const void *bytes, size_t length, uint32_t start)
{
	const uint8_t *byte = bytes;
	uint64_t total = start;

	for (size_t i = 0; i + 1 < length; i += 2)
		total += (uint32_t)byte[i] << 8 | byte[i + 1];
	if (length & 1)
		total += (uint32_t)byte[length - 1] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint32_t)total;
}

static uint16_t checksum(uint32_t total)
{
	return htons((uint16_t)~total);
}

static size_t put_ipv4(uint8_t *out, const struct address *source, const struct address *target,
		       uint8_t protocol, size_t length)
{
	struct iphdr header = {.version = 4, .ihl = 5, .ttl = HOPS, .protocol = protocol};

	header.tot_len = htons((uint16_t)length);
	header.frag_off = htons(IP_DF);
	memcpy(&header.saddr, source->byte + 12, 4);
	memcpy(&header.daddr, target->byte + 12, 4);
	header.check = checksum(sum(&header, sizeof(header), 0));
	memcpy(out, &header, sizeof(header));
	return sizeof(header);
}

static size_t put_ipv6(uint8_t *out, const struct address *source, const struct address *target,
		       uint8_t protocol, size_t length)
{
	struct ip6_hdr header = {};

	header.ip6_flow = htonl(6U << 28);
	header.ip6_plen = htons((uint16_t)(length - sizeof(header)));
	header.ip6_nxt = protocol;
	header.ip6_hlim = HOPS;
	memcpy(&header.ip6_src, source->byte, 16);
	memcpy(&header.ip6_dst, target->byte, 16);
	memcpy(out, &header, sizeof(header));
	return sizeof(header);
}

static void put_udp(uint8_t *out, const struct address *source, const struct address *target,
		    size_t length)
{
	size_t skip = address_is_ipv4(source) ? 12 : 0;
	struct udphdr header = {.source = htons(PROBE_PORT), .dest = htons(PROBE_PORT)};
	uint32_t total = IPPROTO_UDP + (uint32_t)length;

	header.len = htons((uint16_t)length);
	memcpy(out, &header, sizeof(header));
	total = sum(source->byte + skip, 16 - skip, total);
	total = sum(target->byte + skip, 16 - skip, total);
	header.check = checksum(sum(out, length, total));
	if (!header.check)
		header.check = 0xffff;
	memcpy(out, &header, sizeof(header));
}

int probe_build(uint8_t *out, size_t size, const struct address *source,
		const struct address *target, enum probe_kind kind, uint64_t sequence,
		size_t length)
{
	const bool ipv4 = address_is_ipv4(target);
	const size_t header = ipv4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
	const size_t least = 2 * header + sizeof(struct udphdr) + sizeof(struct probe_payload);
	struct probe_payload payload = {
		.magic = htonl(PROBE_MAGIC), .kind = (uint8_t)kind, .sequence = htobe64(sequence)};
	size_t at;

	if (!length)
		length = least;
	if (length < least || length > size || length > PROBE_SIZE_MAX)
		return -EMSGSIZE;
	memset(out, 0, length);
	if (ipv4) {
		at = put_ipv4(out, source, target, IPPROTO_IPIP, length);
		at += put_ipv4(out + at, source, target, IPPROTO_UDP, length - at);
	} else {
		at = put_ipv6(out, source, target, IPPROTO_IPV6, length);
		at += put_ipv6(out + at, source, target, IPPROTO_UDP, length - at);
	}
	memcpy(out + at + sizeof(struct udphdr), &payload, sizeof(payload));
	put_udp(out + at, source, target, length - at);
	return (int)length;
}

/* IPPROTO_RAW: the packet comes with its header, in both families. */
struct prober *prober_new(void)
{
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober)
		return NULL;
	prober->fd4 = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	if (prober->fd4 < 0) {
		log_error("path probes: no raw socket: %s; limpetd needs CAP_NET_RAW",
			  strerror(errno));
		free(prober);
		return NULL;
	}
	prober->fd6 = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	if (prober->fd6 < 0)
		log_info("path probes: no IPv6 here: %s", strerror(errno));
	return prober;
}

void prober_free(struct prober *prober)
{
	if (!prober)
		return;
	close(prober->fd4);
	if (prober->fd6 >= 0)
		close(prober->fd6);
	free(prober);
}

static int send_one(struct prober *prober, const struct address *source,
		    const struct address *target, enum probe_kind kind, uint64_t sequence,
		    size_t length)
{
	struct sockaddr_storage to;
	socklen_t size = address_to_socket(target, 0, &to);
	int fd = address_is_ipv4(target) ? prober->fd4 : prober->fd6;
	int built = probe_build(prober->packet, sizeof(prober->packet), source, target, kind,
				sequence, length);

	if (built < 0)
		return built;
	if (sendto(fd, prober->packet, (size_t)built, MSG_DONTWAIT, (struct sockaddr *)&to, size) <
	    0)
		return -errno;
	return 0;
}

int prober_send(struct prober *prober, const struct address *source, const struct address *target,
		uint32_t mtu, uint64_t sequence)
{
	int error = send_one(prober, source, target, PROBE_SMALL, sequence, 0);

	if (mtu)
		send_one(prober, source, target, PROBE_FULL, sequence,
			 mtu > PROBE_SIZE_MAX ? PROBE_SIZE_MAX : mtu);
	return error;
}
