/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flood SECONDS PORT ADDRESS [pairs]: SYNs from addresses that are nobody's (198.19.0.0/16), as
 * fast as one core can, so long or until SIGTERM; with `pairs` each is followed by the ACK of a
 * handshake that never was. Prints {"sent": …, "ms": …}. IPv4, by a raw socket.
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
};

static volatile sig_atomic_t over;

static void end_flood(int number)
{
	(void)number;
	over = 1;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint16_t checksum(const struct packet *packet)
{
	const uint16_t *word = (const uint16_t *)&packet->tcp;
	uint64_t sum = packet->ip.saddr;

	sum += packet->ip.daddr;
	sum += htons(IPPROTO_TCP) + htons(sizeof(packet->tcp));
	for (size_t i = 0; i < sizeof(packet->tcp) / 2; i++)
		sum += word[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The number is all there is to a packet: of an odd one of a pair it is the even one's, and one. */
static void make(struct packet *packet, uint64_t number, const struct sockaddr_in *to, bool pairs)
{
	uint64_t flow = pairs ? number / 2 : number;
	bool ack = pairs && number % 2;

	memset(packet, 0, sizeof(*packet));
	packet->ip.version = 4;
	packet->ip.ihl = 5;
	packet->ip.ttl = 64;
	packet->ip.protocol = IPPROTO_TCP;
	packet->ip.saddr = htonl(0xc6130000 | (uint16_t)flow);
	packet->ip.daddr = to->sin_addr.s_addr;
	packet->tcp.source = htons((uint16_t)(1024 + (flow >> 16) % 60000));
	packet->tcp.dest = to->sin_port;
	packet->tcp.seq = htonl((uint32_t)flow * 2654435761U + ack);
	packet->tcp.doff = 5;
	packet->tcp.syn = !ack;
	packet->tcp.ack = ack;
	packet->tcp.window = 0xffff;
	packet->tcp.check = checksum(packet);
}

int main(int argc, char **argv)
{
	static struct packet packets[BATCH];
	static struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	uint64_t start = now_ms(), end, number = 0;
	bool pairs = argc == 5 && !strcmp(argv[4], "pairs");

	if (argc < 4 || fd < 0 || inet_pton(AF_INET, argv[3], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: flood SECONDS PORT ADDRESS [pairs], as root\n");
		return 2;
	}
	signal(SIGTERM, end_flood);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	end = start + (uint64_t)atoi(argv[1]) * 1000;
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){&packets[i], sizeof(packets[i])};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &to,
						      .msg_namelen = sizeof(to),
						      .msg_iov = &parts[i],
						      .msg_iovlen = 1};
	}
	while (!over && now_ms() < end) {
		int sent;

		for (int i = 0; i < BATCH; i++)
			make(&packets[i], number + i, &to, pairs);
		sent = sendmmsg(fd, messages, BATCH, 0);
		number += sent > 0 ? BATCH : 0;
	}
	printf("{\"sent\": %llu, \"ms\": %llu}\n", (unsigned long long)number,
	       (unsigned long long)(now_ms() - start));
	return 0;
}
