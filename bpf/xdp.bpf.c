// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * xdp.bpf.c - a packet's way through a node, router and target alike:
 *
 *   encapsulated for this target?  ── decapsulate.h ──▶ PASS or DROP, never routed again
 *   for a service of this router?  ── choose.h ──▶ a target ── forward.h ──▶ TX or REDIRECT
 *                                             └──▶ held: DROP; nobody serves: RST ── answer.h
 *   an ICMP error about one?       ──▶ the same target
 *   anything else                  ──▶ PASS, untouched
 */
#include "choose.h"
#include "clock.h"
#include "decapsulate.h"
#include "forward.h"
#include "router_agent.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The roles that the node is loaded with: a part that it has not is not even verified, and what it
 * has begins when its settings are there. */
const volatile bool may_route = true;
const volatile bool may_decapsulate = true;

static __always_inline int verdict(enum counter counter, int choice)
{
	count(counter);
	return choice;
}

static __always_inline bool same_service(const struct service_slot *slot,
					 const struct address *address, __be16 port, __u8 protocol)
{
	return slot->key.port == port && slot->key.protocol == protocol &&
	       same_address(&slot->key.address, address);
}

/* The slot of a key, or NULL. */
static __always_inline const struct service_slot *find_slot(const struct address *address,
							    __be16 port, __u8 protocol)
{
	__u32 zero = 0, first = service_slot_of(address, port, protocol);
	void *table = bpf_map_lookup_elem(&service_index, &zero);

	if (!table)
		return NULL;
	for (__u32 i = 0; i < SERVICE_PROBES; i++) {
		__u32 at = (first + i) % SERVICE_SLOTS;
		const struct service_slot *slot = bpf_map_lookup_elem(table, &at);

		if (!slot || !slot->used)
			return NULL;
		if (same_service(slot, address, port, protocol))
			return slot;
	}
	return NULL;
}

/* Has some service this address? */
static __noinline bool is_service_address(const struct address *address)
{
	return find_slot(address, 0, 0);
}

/* The service's number, or NO_NUMBER. */
static __always_inline __u32 find_service(const struct address *address, __be16 port)
{
	const struct service_slot *slot = find_slot(address, port, IPPROTO_TCP);

	return slot ? slot->number : NO_NUMBER;
}

/* A question about this flow; false: no such service. */
static __always_inline bool ask(const struct settings *settings, struct question *question)
{
	__u32 number = question->key.service;

	question->service = bpf_map_lookup_elem(&services, &number);
	if (!question->service)
		return false;
	question->sequence = *(const volatile __u32 *)&question->service->sequence;
	question->settings = settings;
	question->now_ns = clock_now_ns();
	return true;
}

/* Which flow does the quoted packet, sent by a service's target, belong to? Its target's number. */
static __always_inline int quoted_owner(struct cursor *cursor, const struct packet *packet)
{
	const struct ip *ip = &packet->ip;
	struct question question = {};
	struct ip quoted = {};
	__be16 service_port;
	int owner;

	if (!parse_ip(cursor, ip->family, &quoted) || quoted.fragment ||
	    quoted.protocol != IPPROTO_TCP || !same_address(&quoted.source, &ip->destination) ||
	    !parse_ports(cursor, &service_port, &question.key.client_port))
		return CHOICE_DROP;
	question.key.client = quoted.destination;
	question.key.service = find_service(&quoted.source, service_port);
	if (question.key.service == NO_NUMBER)
		return CHOICE_DROP;
	flow_identify(packet->settings, &question.key, &question.id);
	owner = flow_recall(&question.id);
	if (owner >= 0)
		return owner;
	return ask(packet->settings, &question) ? flow_owner(&question) : CHOICE_DROP;
}

/* An ICMP error goes to the target whose packet it quotes; the rest is this node's. A call of its
 * own, so that its stack is gone before the packet is sent on (512 bytes in all). */
static __noinline int choose_icmp(const struct packet *packet)
{
	const struct ip *ip = &packet->ip;
	struct cursor cursor;
	__u8 type;
	int owner;

	if (!is_service_address(&ip->destination))
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	cursor_at_payload(&cursor, packet);
	if (!ip->whole || !parse_icmp(&cursor, &type))
		return verdict(COUNT_DROP_MALFORMED, CHOICE_DROP);
	if (!is_icmp_error(ip->family, type))
		return verdict(COUNT_PASS_ICMP, CHOICE_PASS);
	owner = quoted_owner(&cursor, packet);
	if (owner < 0)
		return verdict(COUNT_PASS_ICMP, CHOICE_PASS);
	return verdict(COUNT_ICMP_RELAYED, owner);
}

static __always_inline int choose_tcp(struct packet *packet, struct cursor *cursor)
{
	const struct ip *ip = &packet->ip;
	struct question question;
	int target;

	if (!ip->whole || !parse_tcp(cursor, ip, &packet->tcp)) {
		if (is_service_address(&ip->destination))
			return verdict(COUNT_DROP_MALFORMED, CHOICE_DROP);
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	}
	question.tcp = &packet->tcp;
	question.key.service = find_service(&ip->destination, packet->tcp.destination);
	if (question.key.service == NO_NUMBER)
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	count(COUNT_SERVICE_PACKETS);
	question.key.client = ip->source;
	question.key.client_port = packet->tcp.source;
	flow_identify(packet->settings, &question.key, &question.id);
	target = packet->tcp.syn ? NO_FLOW : fast_path(&question.id);
	if (target >= 0)
		return target;
	if (!ask(packet->settings, &question))
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	return choose(&question);
}

/*
 * A fragment hides its ports, so it cannot follow its connection (targets lower their MSS, routers
 * answer what is too big: none should be). What is known not to be TCP is none of ours.
 */
static __always_inline bool may_be_tcp(const struct ip *ip)
{
	if (ip->has_header)
		return ip->protocol != IPPROTO_UDP && ip->protocol != PROTOCOL_ICMP6;
	return ip->protocol == IPPROTO_TCP;
}

static __always_inline int choose_packet(struct packet *packet, struct cursor *cursor)
{
	const struct ip *ip = &packet->ip;

	if (ip->fragment) {
		if (may_be_tcp(ip) && is_service_address(&ip->destination))
			return verdict(COUNT_DROP_FRAGMENT, CHOICE_DROP);
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	}
	if (is_icmp(ip))
		return choose_icmp(packet);
	if (ip->protocol != IPPROTO_TCP)
		return verdict(COUNT_PASS_NO_SERVICE, CHOICE_PASS);
	return choose_tcp(packet, cursor);
}

static __always_inline int route(struct packet *packet, struct cursor *cursor)
{
	int choice = choose_packet(packet, cursor);

	if (choice >= 0)
		return forward(packet, choice);
	if (choice == CHOICE_REFUSE)
		return answer_refused(packet);
	return choice == CHOICE_PASS ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int xdp_limpet(struct xdp_md *context)
{
	struct packet packet;
	struct cursor cursor;
	enum family family;
	struct link link;
	__u32 zero = 0;

	count(COUNT_RX_PACKETS);
	packet.context = context;
	packet.settings = bpf_map_lookup_elem(&settings, &zero);
	if (!packet.settings)
		return XDP_PASS;
	cursor_start(&cursor, context);
	if (!parse_link(&cursor, &link, &family) || !parse_ip(&cursor, family, &packet.ip))
		goto pass;
	packet.link_length = link.length;
	if (may_decapsulate && is_encapsulated(&packet))
		return decapsulate(&packet);
	if (may_route && packet.settings->is_router)
		return route(&packet, &cursor);
pass:
	if (packet.settings->is_router)
		count(COUNT_PASS_NO_SERVICE);
	return XDP_PASS;
}
