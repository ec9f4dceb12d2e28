/* SPDX-License-Identifier: BSD-2-Clause */
#include "next_hop.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "address.h"
#include "log.h"
#include "netlink.h"

#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)
#define SETTLE_MS  20 /* a change of routes comes as many events */

struct watch {
	__u16 number;
	struct address address;
	struct next_hop hop;
	const char *why;
	__u32 route_ifindex; /* neighbour events name this interface and the gateway */
	struct address gateway;
	bool same_way; /* as when it was read before */
	bool dirty;    /* to be read again */
	bool ask;      /* then have the kernel resolve or confirm the neighbour */
	bool stale;    /* the neighbour is not known, or has not been confirmed for long */
};

struct next_hops {
	struct mnl_socket *questions, *events;
	struct event *readable, *settle, *second;
	void (*changed)(void *context, __u16 number);
	void *context;
	struct watch *watches[MAX_TARGETS];
};

/* ------------------------------------------------------------------------------------------------
 * one target */

/* The interface that frames really leave by: NULL, or why there is none. */
static const char *resolve_link(struct next_hops *hops, __u32 ifindex, struct next_hop *hop)
{
	struct link_answer link;

	if (netlink_link(hops->questions, ifindex, &link))
		return "its interface is gone";
	if (!link.up)
		return "its interface is down";
	if (!link.ethernet)
		return "its interface is not Ethernet";
	hop->ifindex = ifindex;
	if (!hop->mtu || link.mtu < hop->mtu)
		hop->mtu = link.mtu;
	memcpy(hop->source_mac, link.mac, sizeof(hop->source_mac));
	if (!link.is_vlan)
		return NULL;
	if (link.vlan_protocol != ETH_P_8021Q)
		return "its VLAN is not 802.1Q";
	hop->ifindex = link.parent;
	hop->vlan = htons(link.vlan_id);
	if (netlink_link(hops->questions, link.parent, &link) || link.is_vlan)
		return "its VLAN lies within another";
	return NULL;
}

/* An entry that the kernel has forgotten, or just asks for again, is believed as it was; one that
 * has failed is not. */
static const char *resolve_neighbour(struct next_hops *hops, struct watch *watch,
				     struct next_hop *hop)
{
	struct neighbour_answer neighbour = {};
	int error = netlink_neighbour(hops->questions, watch->route_ifindex, &watch->gateway,
				      &neighbour);

	if (!error && (neighbour.state & NUD_USABLE) && neighbour.has_mac) {
		watch->stale = neighbour.state & NUD_STALE;
		memcpy(hop->mac, neighbour.mac, sizeof(hop->mac));
		hop->resolved = true;
		return NULL;
	}
	watch->stale = true;
	hop->failed = !error && (neighbour.state & NUD_FAILED);
	if (watch->same_way && watch->hop.resolved && !hop->failed) {
		memcpy(hop->mac, watch->hop.mac, sizeof(hop->mac));
		hop->resolved = true;
		return NULL;
	}
	return "its next hop does not answer ARP or neighbour discovery";
}

/* Fill *hop for the watch: NULL, or why it is not resolved. */
static const char *resolve(struct next_hops *hops, struct watch *watch, struct next_hop *hop)
{
	struct route_answer route;
	const char *why;

	memset(hop, 0, sizeof(*hop));
	watch->stale = false;
	watch->same_way = false;
	if (netlink_route(hops->questions, &watch->address, &route))
		return "no route";
	hop->local = route.type == RTN_LOCAL;
	if (hop->local)
		return "it is this node";
	if (route.type != RTN_UNICAST)
		return "no unicast route";
	watch->same_way = watch->route_ifindex == route.ifindex &&
			  address_equal(&watch->gateway, &route.gateway);
	watch->route_ifindex = route.ifindex;
	watch->gateway = route.gateway;
	hop->mtu = route.mtu;
	why = resolve_link(hops, route.ifindex, hop);
	if (why)
		return why;
	return resolve_neighbour(hops, watch, hop);
}

static void refresh(struct next_hops *hops, struct watch *watch)
{
	struct next_hop hop;

	watch->why = resolve(hops, watch, &hop);
	/* NTF_USE is what a packet would do: resolve, or confirm what is stale. */
	if (watch->stale && watch->ask)
		netlink_use_neighbour(hops->questions, watch->route_ifindex, &watch->gateway);
	watch->dirty = watch->ask = false;
	if (!memcmp(&hop, &watch->hop, sizeof(hop)))
		return;
	watch->hop = hop;
	hops->changed(hops->context, watch->number);
}

/* ------------------------------------------------------------------------------------------------
 * events */

static void on_settled(evutil_socket_t fd, short what, void *context)
{
	struct next_hops *hops = context;

	(void)fd;
	(void)what;
	for (unsigned int i = 0; i < MAX_TARGETS; i++)
		if (hops->watches[i] && hops->watches[i]->dirty)
			refresh(hops, hops->watches[i]);
}

static void mark_all(struct next_hops *hops)
{
	const struct timeval soon = {0, SETTLE_MS * 1000};

	for (unsigned int i = 0; i < MAX_TARGETS; i++)
		if (hops->watches[i])
			hops->watches[i]->dirty = hops->watches[i]->ask = true;
	if (!event_pending(hops->settle, EV_TIMEOUT, NULL))
		event_add(hops->settle, &soon);
}

static void mark_neighbour(struct next_hops *hops, __u32 ifindex, const struct address *address)
{
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		struct watch *watch = hops->watches[i];

		if (!watch || watch->route_ifindex != ifindex ||
		    !address_equal(&watch->gateway, address))
			continue;
		watch->dirty = true;
		event_active(hops->settle, EV_TIMEOUT, 0);
	}
}

static int on_message(const struct nlmsghdr *message, void *context)
{
	struct next_hops *hops = context;
	struct address address;
	__u32 ifindex;

	if (message->nlmsg_type != RTM_NEWNEIGH && message->nlmsg_type != RTM_DELNEIGH)
		mark_all(hops);
	else if (netlink_parse_neighbour(message, &ifindex, &address))
		mark_neighbour(hops, ifindex, &address);
	return MNL_CB_OK;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct next_hops *hops = context;
	char buffer[32768];

	(void)fd;
	(void)what;
	for (int i = 0; i < 64; i++) {
		ssize_t length = mnl_socket_recvfrom(hops->events, buffer, sizeof(buffer));

		if (length < 0 && errno == ENOBUFS) {
			log_debug("rtnetlink: events lost: reading all next hops again");
			mark_all(hops);
			continue;
		}
		if (length <= 0)
			return;
		mnl_cb_run(buffer, (size_t)length, 0, 0, on_message, hops);
	}
}

/* What is not resolved is asked for again, and what is stale confirmed. */
static void on_second(evutil_socket_t fd, short what, void *context)
{
	struct next_hops *hops = context;

	(void)fd;
	(void)what;
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		struct watch *watch = hops->watches[i];

		if (!watch || watch->hop.local || (watch->hop.resolved && !watch->stale))
			continue;
		watch->ask = true;
		refresh(hops, watch);
	}
}

/* ------------------------------------------------------------------------------------------------
 * life */

static int open_sockets(struct next_hops *hops)
{
	static const unsigned int groups[] = {RTNLGRP_NEIGH,	   RTNLGRP_LINK,
					      RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE,
					      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
	const struct timeval patience = {1, 0};

	hops->questions = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	hops->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!hops->questions || !hops->events ||
	    mnl_socket_bind(hops->questions, 0, MNL_SOCKET_AUTOPID) ||
	    mnl_socket_bind(hops->events, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (mnl_socket_setsockopt(hops->events, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i],
					  sizeof(groups[i])))
			return -errno;
	if (setsockopt(mnl_socket_get_fd(hops->questions), SOL_SOCKET, SO_RCVTIMEO, &patience,
		       sizeof(patience)))
		return -errno;
	return 0;
}

static int open_events(struct next_hops *hops, struct event_base *base)
{
	const struct timeval second = {1, 0};

	hops->readable = event_new(base, mnl_socket_get_fd(hops->events), EV_READ | EV_PERSIST,
				   on_readable, hops);
	hops->settle = event_new(base, -1, 0, on_settled, hops);
	hops->second = event_new(base, -1, EV_PERSIST, on_second, hops);
	if (!hops->readable || !hops->settle || !hops->second || event_add(hops->readable, NULL) ||
	    event_add(hops->second, &second))
		return -ENOMEM;
	return 0;
}

struct next_hops *next_hops_start(struct event_base *base,
				  void (*changed)(void *context, __u16 number), void *context)
{
	struct next_hops *hops = calloc(1, sizeof(*hops));
	int error;

	if (!hops)
		return NULL;
	hops->changed = changed;
	hops->context = context;
	error = open_sockets(hops);
	if (!error)
		error = open_events(hops, base);
	if (!error)
		return hops;
	log_error("rtnetlink: next hops cannot be followed: %s", strerror(-error));
	next_hops_stop(hops);
	return NULL;
}

void next_hops_stop(struct next_hops *hops)
{
	if (!hops)
		return;
	if (hops->readable)
		event_free(hops->readable);
	if (hops->settle)
		event_free(hops->settle);
	if (hops->second)
		event_free(hops->second);
	if (hops->events)
		mnl_socket_close(hops->events);
	if (hops->questions)
		mnl_socket_close(hops->questions);
	for (unsigned int i = 0; i < MAX_TARGETS; i++)
		free(hops->watches[i]);
	free(hops);
}

int next_hops_watch(struct next_hops *hops, __u16 number, const struct address *address)
{
	struct watch *watch = hops->watches[number];

	if (watch && address_equal(&watch->address, address))
		return 0;
	if (!watch) {
		watch = calloc(1, sizeof(*watch));
		if (!watch)
			return -ENOMEM;
		hops->watches[number] = watch;
	}
	watch->number = number;
	watch->address = *address;
	watch->ask = true;
	refresh(hops, watch);
	return 0;
}

void next_hops_unwatch(struct next_hops *hops, __u16 number)
{
	free(hops->watches[number]);
	hops->watches[number] = NULL;
}

void next_hops_confirm(struct next_hops *hops, __u16 number)
{
	struct watch *watch = hops->watches[number];

	if (watch && watch->hop.resolved && address_equal(&watch->address, &watch->gateway))
		netlink_probe_neighbour(hops->questions, watch->route_ifindex, &watch->gateway,
					watch->hop.mac);
}

const struct next_hop *next_hops_get(const struct next_hops *hops, __u16 number)
{
	static const struct next_hop none;
	const struct watch *watch = hops->watches[number];

	return watch ? &watch->hop : &none;
}

const char *next_hops_why(const struct next_hops *hops, __u16 number)
{
	const struct watch *watch = hops->watches[number];

	return watch && watch->why ? watch->why : "";
}
