/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#define LINK 14

static void append(struct frame *frame, const void *data, size_t length)
{
	assert(frame->length + length <= FRAME_SIZE);
	memcpy(frame->byte + frame->length, data, length);
	frame->length += length;
}

static void append8(struct frame *frame, uint8_t value)
{
	append(frame, &value, 1);
}

static void append16(struct frame *frame, uint16_t value)
{
	append8(frame, value >> 8);
	append8(frame, value);
}

static void append32(struct frame *frame, uint32_t value)
{
	append16(frame, value >> 16);
	append16(frame, value);
}

static void append_pattern(struct frame *frame, size_t length)
{
	for (size_t i = 0; i < length; i++)
		append8(frame, 'a' + i % 26);
}

static void set16(struct frame *frame, uint32_t offset, uint16_t value)
{
	frame->byte[offset] = value >> 8;
	frame->byte[offset + 1] = value;
}

static bool is_ip6(const char *address)
{
	return strchr(address, ':');
}

static void append_address(struct frame *frame, const char *address)
{
	uint8_t byte[16];
	int family = is_ip6(address) ? AF_INET6 : AF_INET;

	assert(inet_pton(family, address, byte) == 1);
	append(frame, byte, family == AF_INET6 ? 16 : 4);
}

/* RFC 1071 over the frame's bytes from `offset`, plus what is given. */
static uint16_t checksum(const struct frame *frame, uint32_t offset, uint32_t end, uint32_t sum)
{
	for (uint32_t i = offset; i < end; i++)
		sum += (i - offset) % 2 ? frame->byte[i] : frame->byte[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static uint32_t pseudo(const char *from, const char *to, uint8_t protocol, uint32_t length)
{
	struct frame header = {0};

	append_address(&header, from);
	append_address(&header, to);
	append32(&header, length);
	append32(&header, protocol);
	return (uint16_t)~checksum(&header, 0, header.length, 0);
}

static struct frame start(const char *destination, const char *source, bool ip6)
{
	struct frame frame = {0};

	append(&frame, destination, 6);
	append(&frame, source, 6);
	append16(&frame, ip6 ? 0x86dd : 0x0800);
	return frame;
}

struct header {
	const char *from, *to;
	uint8_t protocol, tos, ttl, options;
	uint16_t id, fragment;
};

static void append_ip4(struct frame *frame, const struct header *header)
{
	uint32_t at = frame->length;

	append8(frame, 0x45 + header->options / 4);
	append8(frame, header->tos);
	append16(frame, 0); /* by finish */
	append16(frame, header->id);
	append16(frame, header->fragment);
	append8(frame, header->ttl);
	append8(frame, header->protocol);
	append16(frame, 0);
	append_address(frame, header->from);
	append_address(frame, header->to);
	for (int i = 0; i < header->options; i++)
		append8(frame, 1); /* no operation */
	assert(frame->length == at + 20 + header->options);
}

static void append_ip6(struct frame *frame, const struct header *header)
{
	append32(frame, 6U << 28 | (uint32_t)header->tos << 20);
	append16(frame, 0); /* by finish */
	append8(frame, header->protocol);
	append8(frame, header->ttl);
	append_address(frame, header->from);
	append_address(frame, header->to);
}

/* The lengths that are known only now, and the header's checksum. */
static void finish(struct frame *frame, uint32_t at)
{
	uint32_t header = (frame->byte[at] & 15) * 4;

	if (frame->byte[at] >> 4 == 6) {
		set16(frame, at + 4, frame->length - at - 40);
		return;
	}
	set16(frame, at + 2, frame->length - at);
	set16(frame, at + 10, 0);
	set16(frame, at + 10, checksum(frame, at, at + header, 0));
}

static void append_tcp(struct frame *frame, const struct segment *segment)
{
	uint32_t at = frame->length, length = 20U + segment->tcp_options + segment->data;

	append16(frame, segment->from_port);
	append16(frame, segment->to_port);
	append32(frame, segment->sequence);
	append32(frame, segment->acknowledged);
	append8(frame, (5 + segment->tcp_options / 4) << 4);
	append8(frame, segment->flags);
	append16(frame, segment->answer ? 0 : 64240);
	append32(frame, 0); /* checksum, urgent pointer */
	for (int i = 0; i < segment->tcp_options; i++)
		append8(frame, 1);
	append_pattern(frame, segment->data);
	set16(frame, at + 16,
	      checksum(frame, at, frame->length,
		       pseudo(segment->from, segment->to, IPPROTO_TCP, length)));
}

static struct segment with_defaults(struct segment segment)
{
	if (!segment.to)
		segment.to = segment.from && is_ip6(segment.from) ? VIP6 : VIP;
	if (!segment.from)
		segment.from = is_ip6(segment.to) ? CLIENT6 : CLIENT;
	if (!segment.from_port)
		segment.from_port = 40000;
	if (!segment.to_port)
		segment.to_port = 80;
	if (!segment.sequence && !segment.answer)
		segment.sequence = 1000;
	return segment;
}

struct frame tcp(struct segment given)
{
	struct segment segment = with_defaults(given);
	bool ip6 = is_ip6(segment.to);
	struct frame frame = start(segment.answer ? MAC_CLIENT : MAC_ROUTER,
				   segment.answer ? MAC_ROUTER : MAC_CLIENT, ip6);
	struct header header = {.from = segment.from,
				.to = segment.to,
				.protocol = segment.extension	 ? IPPROTO_DSTOPTS
					    : segment.fragmented ? IPPROTO_FRAGMENT
								 : IPPROTO_TCP,
				.tos = segment.tos,
				.ttl = segment.answer ? 64 : 57,
				.options = segment.options,
				.id = segment.answer ? 0 : 0x1234,
				.fragment = segment.answer     ? 0x4000
					    : segment.fragment ? segment.fragment
							       : 0x4000};

	if (segment.id)
		header.id = segment.id;
	ip6 ? append_ip6(&frame, &header) : append_ip4(&frame, &header);
	if (segment.extension || segment.fragmented) {
		append8(&frame, IPPROTO_TCP);
		append8(&frame, 0);
		append16(&frame, segment.fragmented ? segment.fragment : 0x0104); /* PadN */
		append32(&frame, 0);
	}
	append_tcp(&frame, &segment);
	finish(&frame, LINK);
	return frame;
}

struct frame udp(const char *from, const char *to, uint16_t to_port, const void *data,
		 size_t length)
{
	bool ip6 = is_ip6(to);
	struct frame frame = start(MAC_ROUTER, MAC_CLIENT, ip6);
	struct header header = {
		.from = from, .to = to, .protocol = IPPROTO_UDP, .ttl = 57, .fragment = 0x4000};
	uint32_t at;

	ip6 ? append_ip6(&frame, &header) : append_ip4(&frame, &header);
	at = frame.length;
	append16(&frame, 40000);
	append16(&frame, to_port);
	append16(&frame, 8 + length);
	append16(&frame, 0);
	append(&frame, data, length);
	set16(&frame, at + 6,
	      checksum(&frame, at, frame.length, pseudo(from, to, IPPROTO_UDP, 8 + length)));
	finish(&frame, LINK);
	return frame;
}

struct frame icmp(struct icmp message, const struct frame *quoted, size_t quote)
{
	bool ip6 = is_ip6(message.to);
	struct frame frame = start(message.answer ? MAC_CLIENT : MAC_ROUTER,
				   message.answer ? MAC_ROUTER : MAC_CLIENT, ip6);
	struct header header = {.from = message.from,
				.to = message.to,
				.protocol = ip6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
				.ttl = message.answer ? 64 : 57,
				.fragment = 0x4000};
	uint32_t at, sum = 0;

	ip6 ? append_ip6(&frame, &header) : append_ip4(&frame, &header);
	at = frame.length;
	append8(&frame, message.type);
	append8(&frame, message.code);
	append16(&frame, 0);
	append32(&frame, message.rest);
	if (quoted) {
		assert(LINK + quote <= quoted->length);
		append(&frame, quoted->byte + LINK, quote);
	}
	if (ip6)
		sum = pseudo(message.from, message.to, IPPROTO_ICMPV6, frame.length - at);
	set16(&frame, at + 2, checksum(&frame, at, frame.length, sum));
	finish(&frame, LINK);
	return frame;
}

static uint32_t link_length(const struct frame *frame)
{
	uint32_t length = LINK;

	while ((frame->byte[length - 2] == 0x81 && frame->byte[length - 1] == 0) ||
	       (frame->byte[length - 2] == 0x88 && frame->byte[length - 1] == 0xa8))
		length += 4;
	return length;
}

struct frame encapsulated(struct frame inner, const char *from, const char *to)
{
	struct frame frame = start(MAC_HOP, MAC_ROUTER2, is_ip6(to));
	uint32_t at = link_length(&inner);
	const uint8_t *ip = inner.byte + at;
	bool inner6 = ip[0] >> 4 == 6;
	struct header header = {.from = from,
				.to = to,
				.protocol = inner6 ? IPPROTO_IPV6 : IPPROTO_IPIP,
				.tos = inner6 ? (uint8_t)(ip[0] << 4 | ip[1] >> 4) : ip[1],
				.ttl = 64,
				.fragment = 0x4000};
	uint32_t length = inner6 ? 40U + (ip[4] << 8 | ip[5]) : (uint32_t)(ip[2] << 8 | ip[3]);

	is_ip6(to) ? append_ip6(&frame, &header) : append_ip4(&frame, &header);
	append(&frame, ip, length);
	finish(&frame, LINK);
	append(&frame, ip + length, inner.length - at - length); /* padding of the link */
	return frame;
}

struct frame tagged(struct frame frame, uint16_t type, uint16_t control)
{
	struct frame out = {0};

	append(&out, frame.byte, 12);
	append16(&out, type);
	append16(&out, control);
	append(&out, frame.byte + 12, frame.length - 12);
	return out;
}

struct frame macs(struct frame frame, const char *destination, const char *source)
{
	memcpy(frame.byte, destination, 6);
	memcpy(frame.byte + 6, source, 6);
	return frame;
}

struct frame cut(struct frame frame, uint32_t length)
{
	assert(length <= frame.length);
	frame.length = length;
	return frame;
}

struct frame padded(struct frame frame, uint32_t length)
{
	while (frame.length < length)
		append8(&frame, 0);
	return frame;
}

struct frame changed(struct frame frame, uint32_t offset, uint8_t value)
{
	assert(LINK + offset < frame.length);
	frame.byte[LINK + offset] = value;
	return frame;
}
