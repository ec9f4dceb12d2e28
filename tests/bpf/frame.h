/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame.h - frames for tests, built from the inside out, with right checksums and lengths. By
 * value: a row reads as `encapsulated(tcp((struct segment){...}), ...)`. Addresses are text; both
 * of a packet are of one family. Nothing of bpf/ is used here: the bytes are worked out a second
 * time.
 */
#ifndef LIMPET_TEST_FRAME_H
#define LIMPET_TEST_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE 2048

struct frame {
	uint32_t length;
	uint8_t byte[FRAME_SIZE];
};

#define MAC_CLIENT  "\x02\x00\x00\x00\x00\x01"
#define MAC_ROUTER  "\x02\x00\x00\x00\x00\x02"
#define MAC_HOP	    "\x02\x00\x00\x00\x00\x03"
#define MAC_ROUTER2 "\x02\x00\x00\x00\x00\x04" /* of the interface that leads to the next hop */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define CLIENT	"198.51.100.7"
#define CLIENT6 "2001:db8:7::7"
#define VIP	"203.0.113.10"
#define VIP6	"2001:db8:113::10"

/* From the client's MAC to the router's. What is left out: CLIENT port 40000 to port 80 of VIP, or
 * of VIP6 from CLIENT6; sequence number 1000. */
struct segment {
	const char *from, *to;
	uint16_t from_port, to_port;
	uint32_t sequence, acknowledged;
	uint8_t flags;
	uint8_t tos;	     /* traffic class */
	uint16_t data;	     /* bytes behind the TCP header */
	uint16_t fragment;   /* IPv4: frag_off; IPv6: the fragment header's offset field */
	uint16_t id;	     /* IPv4 */
	uint8_t options;     /* IPv4: bytes of options; a multiple of 4 */
	uint8_t tcp_options; /* bytes; a multiple of 4 */
	bool extension;	     /* IPv6: a destination options header before TCP */
	bool fragmented;     /* IPv6: a fragment header before TCP */
	bool answer;	     /* as a router answers: TTL 64, id 0, DF, back to the client's MAC */
};

struct frame tcp(struct segment segment);
struct frame udp(const char *from, const char *to, uint16_t to_port, const void *data,
		 size_t length);

/* An ICMP or ICMPv6 message about what `quoted` holds behind its link header, cut to `quote` bytes.
 */
struct icmp {
	const char *from, *to;
	uint8_t type, code;
	uint32_t rest;
	bool answer; /* as a router answers: back to the client's MAC */
};
struct frame icmp(struct icmp message, const struct frame *quoted, size_t quote);

/* The outer header of a router, in place of all tags; MAC_ROUTER2 to MAC_HOP. */
struct frame encapsulated(struct frame inner, const char *from, const char *to);
struct frame tagged(struct frame frame, uint16_t type, uint16_t control); /* a tag in front */
struct frame macs(struct frame frame, const char *destination, const char *source);
struct frame cut(struct frame frame, uint32_t length);
struct frame padded(struct frame frame, uint32_t length);
/* One byte behind the link header (without tags) set to something else. */
struct frame changed(struct frame frame, uint32_t offset, uint8_t value);

#endif
