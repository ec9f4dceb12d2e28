/* SPDX-License-Identifier: BSD-2-Clause */
#include "addresses.h"

#include <errno.h>
#include <event2/event.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "log.h"

#define BUFFER	16384
#define FOREVER 0xffffffffU
#define ADD_MS	1000 /* whoever takes several away is not to be disturbed: `ip address flush` */

struct entry {
	struct address address;
	bool foreign; /* not ours: left alone */
	bool wanted;  /* a service's */
};

struct addresses {
	struct mnl_socket *netlink;
	struct mnl_socket *changes; /* what the kernel tells of addresses */
	struct event *readable, *missing;
	void (*removed)(void *context);
	void *context;
	unsigned int sequence;
	unsigned int loopback;
	struct entry *entries; /* on lo */
	unsigned int count, room;
};

static int remember(struct addresses *addresses, const struct address *address, bool foreign)
{
	if (addresses->count == addresses->room) {
		unsigned int room = addresses->room ? addresses->room * 2 : 16;
		struct entry *more = realloc(addresses->entries, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		addresses->entries = more;
		addresses->room = room;
	}
	addresses->entries[addresses->count++] = (struct entry){*address, foreign, false};
	return 0;
}

static struct entry *find(struct addresses *addresses, const struct address *address)
{
	for (unsigned int i = 0; i < addresses->count; i++)
		if (address_equal(&addresses->entries[i].address, address))
			return &addresses->entries[i];
	return NULL;
}

/* Of a message about an address of lo: which. */
static bool parse(const struct addresses *addresses, const struct nlmsghdr *header,
		  struct address *address, bool *ours)
{
	const struct ifaddrmsg *body = mnl_nlmsg_get_payload(header);
	const struct nlattr *attribute;
	const void *bytes = NULL;

	*address = (struct address){.byte = {[10] = 0xff, 0xff}};
	*ours = false;
	if (body->ifa_index != addresses->loopback)
		return false;
	mnl_attr_for_each(attribute, header, sizeof(*body))
	{
		uint16_t type = mnl_attr_get_type(attribute);

		if (type == IFA_LOCAL || (type == IFA_ADDRESS && !bytes))
			bytes = mnl_attr_get_payload(attribute);
		else if (type == IFA_PROTO)
			*ours = mnl_attr_get_u8(attribute) == ADDRESS_PROTOCOL;
	}
	if (!bytes || (body->ifa_family != AF_INET && body->ifa_family != AF_INET6))
		return false;
	if (body->ifa_family == AF_INET6)
		memcpy(address->byte, bytes, 16);
	else
		memcpy(address->byte + 12, bytes, 4);
	return true;
}

static int read_address(const struct nlmsghdr *header, void *context)
{
	struct addresses *addresses = context;
	struct address address;
	bool ours;

	if (header->nlmsg_type != RTM_NEWADDR || !parse(addresses, header, &address, &ours))
		return MNL_CB_OK;
	return remember(addresses, &address, !ours) ? MNL_CB_ERROR : MNL_CB_OK;
}

/* Send a request and read to the end of its answer: 0 or -errno. */
static int talk(struct addresses *addresses, struct nlmsghdr *header, mnl_cb_t each)
{
	unsigned int port = mnl_socket_get_portid(addresses->netlink);
	char buffer[BUFFER];
	ssize_t length;
	int status;

	header->nlmsg_seq = ++addresses->sequence;
	if (mnl_socket_sendto(addresses->netlink, header, header->nlmsg_len) < 0)
		return -errno;
	do {
		length = mnl_socket_recvfrom(addresses->netlink, buffer, sizeof(buffer));
		if (length < 0)
			return -errno;
		status = mnl_cb_run(buffer, length, addresses->sequence, port, each, addresses);
	} while (status > MNL_CB_STOP);
	return status < 0 ? -errno : 0;
}

static int read_all(struct addresses *addresses)
{
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *body;

	header->nlmsg_type = RTM_GETADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->ifa_family = AF_UNSPEC;
	return talk(addresses, header, read_address);
}

static void on_missing(evutil_socket_t fd, short what, void *context)
{
	struct addresses *addresses = context;

	(void)fd;
	(void)what;
	addresses->removed(addresses->context);
}

static void look_soon(struct addresses *addresses)
{
	const struct timeval soon = {.tv_usec = ADD_MS * 1000};

	if (!event_pending(addresses->missing, EV_TIMEOUT, NULL))
		event_add(addresses->missing, &soon);
}

/* What we have removed ourselves is not among the entries any more. */
static int note_removal(const struct nlmsghdr *header, void *context)
{
	struct addresses *addresses = context;
	char text[ADDRESS_TEXT];
	struct address address;
	struct entry *entry;
	bool ours;

	if (header->nlmsg_type != RTM_DELADDR || !parse(addresses, header, &address, &ours))
		return MNL_CB_OK;
	entry = find(addresses, &address);
	if (!entry || !entry->wanted)
		return MNL_CB_OK;
	log_warning(
		"service address %s has been removed from lo, not by Limpet: without it clients "
		"that are sent here get no answer",
		address_format(&address, text));
	look_soon(addresses);
	return MNL_CB_OK;
}

static void on_change(evutil_socket_t fd, short what, void *context)
{
	struct addresses *addresses = context;
	char buffer[BUFFER];
	ssize_t length;

	(void)what;
	while ((length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		mnl_cb_run(buffer, length, 0, 0, note_removal, addresses);
	if (length < 0 && errno == ENOBUFS) /* more than there was room for: it may be among them */
		look_soon(addresses);
}

static int watch(struct addresses *addresses, struct event_base *base)
{
	addresses->changes = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!addresses->changes ||
	    mnl_socket_bind(addresses->changes, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
			    MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	addresses->readable = event_new(base, mnl_socket_get_fd(addresses->changes),
					EV_READ | EV_PERSIST, on_change, addresses);
	addresses->missing = event_new(base, -1, 0, on_missing, addresses);
	if (!addresses->readable || !addresses->missing)
		return -ENOMEM;
	return event_add(addresses->readable, NULL) ? -ENOMEM : 0;
}

struct addresses *addresses_new(struct event_base *base, void (*removed)(void *context),
				void *context)
{
	struct addresses *addresses = calloc(1, sizeof(*addresses));
	int err = -ENOMEM;

	if (!addresses)
		goto failed;
	addresses->removed = removed;
	addresses->context = context;
	addresses->loopback = if_nametoindex("lo");
	addresses->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!addresses->loopback || !addresses->netlink ||
	    mnl_socket_bind(addresses->netlink, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		goto failed;
	}
	err = watch(addresses, base);
	if (!err)
		err = read_all(addresses);
	if (!err)
		return addresses;
failed:
	log_error("addresses of lo cannot be read: %s; limpetd needs CAP_NET_ADMIN",
		  strerror(-err));
	addresses_free(addresses);
	return NULL;
}

void addresses_free(struct addresses *addresses)
{
	if (!addresses)
		return;
	if (addresses->readable)
		event_free(addresses->readable);
	if (addresses->missing)
		event_free(addresses->missing);
	if (addresses->changes)
		mnl_socket_close(addresses->changes);
	if (addresses->netlink)
		mnl_socket_close(addresses->netlink);
	free(addresses->entries);
	free(addresses);
}

static int change(struct addresses *addresses, const struct address *address, bool add)
{
	bool ipv4 = address_is_ipv4(address);
	const struct ifa_cacheinfo lifetime = {.ifa_prefered = 0, .ifa_valid = FOREVER};
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *body;

	header->nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->ifa_family = ipv4 ? AF_INET : AF_INET6;
	body->ifa_prefixlen = ipv4 ? 32 : 128;
	body->ifa_scope = ipv4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	body->ifa_index = addresses->loopback;
	if (ipv4)
		mnl_attr_put(header, IFA_LOCAL, 4, address->byte + 12);
	mnl_attr_put(header, IFA_ADDRESS, ipv4 ? 4 : 16, ipv4 ? address->byte + 12 : address->byte);
	if (add) {
		mnl_attr_put_u8(header, IFA_PROTO, ADDRESS_PROTOCOL);
		if (!ipv4) {
			mnl_attr_put_u32(header, IFA_FLAGS, IFA_F_NODAD);
			mnl_attr_put(header, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
		}
	}
	return talk(addresses, header, NULL);
}

static int add(struct addresses *addresses, const struct address *address)
{
	char text[ADDRESS_TEXT];
	int err = change(addresses, address, true);

	address_format(address, text);
	if (err == -EEXIST) {
		log_info("service address %s is on lo already, not by Limpet: it is used and left "
			 "as it is",
			 text);
		return remember(addresses, address, true);
	}
	if (err) {
		log_error("service address %s cannot be added to lo: %s; its services get no "
			  "connections here",
			  text, strerror(-err));
		return err;
	}
	log_info("service address %s added to lo", text);
	return remember(addresses, address, false);
}

static int drop(struct addresses *addresses, struct entry *entry)
{
	char text[ADDRESS_TEXT];
	int err = change(addresses, &entry->address, false);

	address_format(&entry->address, text);
	if (err && err != -EADDRNOTAVAIL) {
		log_error("service address %s cannot be removed from lo: %s; remove it with `ip "
			  "address del %s dev lo`",
			  text, strerror(-err), text);
		return err;
	}
	log_info("service address %s removed from lo: no service has it any more", text);
	*entry = addresses->entries[--addresses->count];
	return 0;
}

static bool among(const struct address *address, const struct address *wanted, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (address_equal(address, &wanted[i]))
			return true;
	return false;
}

int addresses_set(struct addresses *addresses, const struct address *wanted, unsigned int count)
{
	int first = 0, err;

	/* Others may have changed lo since: what is there now is what counts. */
	addresses->count = 0;
	err = read_all(addresses);
	if (err)
		return err;

	for (unsigned int i = 0; i < count; i++) {
		if (find(addresses, &wanted[i]))
			continue;
		err = add(addresses, &wanted[i]);
		first = first ? first : err;
	}
	for (unsigned int i = addresses->count; i-- > 0;) {
		struct entry *entry = &addresses->entries[i];

		entry->wanted = among(&entry->address, wanted, count);
		if (entry->foreign || entry->wanted)
			continue;
		err = drop(addresses, entry);
		first = first ? first : err;
	}
	return first;
}
