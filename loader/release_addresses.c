/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's addresses on lo carry its protocol number (IFA_PROTO), by which they are known. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include "log.h"
#include "release.h"

#define ADDRESS_PROTOCOL 75 /* the agent's: sync/addresses.h */

struct found {
	unsigned char family, prefix_length, length;
	unsigned char address[16];
};

struct list {
	struct found *all;
	size_t count, room;
	unsigned int lo;
};

static int is_ours(const struct nlmsghdr *message, struct found *found)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	bool ours = false;

	*found = (struct found){.family = header->ifa_family,
				.prefix_length = header->ifa_prefixlen};
	mnl_attr_for_each(attribute, message, sizeof(*header))
	{
		unsigned int type = mnl_attr_get_type(attribute);
		unsigned int length = mnl_attr_get_payload_len(attribute);

		if (type == IFA_PROTO)
			ours = mnl_attr_get_u8(attribute) == ADDRESS_PROTOCOL;
		if (length > sizeof(found->address))
			continue;
		if (type == IFA_LOCAL || (type == IFA_ADDRESS && !found->length)) {
			memcpy(found->address, mnl_attr_get_payload(attribute), length);
			found->length = length;
		}
	}
	return ours;
}

static int add_address(const struct nlmsghdr *message, void *context)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct list *list = context;
	struct found found;

	if (header->ifa_index != list->lo || !is_ours(message, &found))
		return MNL_CB_OK;
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		void *all = realloc(list->all, room * sizeof(*list->all));

		if (!all)
			return MNL_CB_ERROR;
		list->all = all;
		list->room = room;
	}
	list->all[list->count++] = found;
	return MNL_CB_OK;
}

/* Send, and take the answers until the last: 0 or -errno. */
static int talk(struct mnl_socket *socket, struct nlmsghdr *header, mnl_cb_t answer, void *context)
{
	static unsigned int sequence;
	char buffer[32768];
	int result;

	header->nlmsg_seq = ++sequence;
	if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (length < 0)
			return -errno;
		result = mnl_cb_run(buffer, length, sequence, mnl_socket_get_portid(socket), answer,
				    context);
	} while (result > MNL_CB_STOP);
	return result < 0 ? -errno : 0;
}

static int list_addresses(struct mnl_socket *socket, struct list *list)
{
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *request;

	header->nlmsg_type = RTM_GETADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->ifa_family = AF_UNSPEC;
	return talk(socket, header, add_address, list);
}

static int delete_address(struct mnl_socket *socket, const struct list *list,
			  const struct found *found)
{
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *request;

	header->nlmsg_type = RTM_DELADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->ifa_family = found->family;
	request->ifa_prefixlen = found->prefix_length;
	request->ifa_index = list->lo;
	mnl_attr_put(header, IFA_LOCAL, found->length, found->address);
	return talk(socket, header, NULL, NULL);
}

unsigned int release_addresses(void)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct list list = {.lo = if_nametoindex("lo")};
	unsigned int released = 0;
	int error = socket ? 0 : -errno;

	if (!error)
		error = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) ? -errno : 0;
	if (!error)
		error = list_addresses(socket, &list);
	if (error)
		log_warning("the addresses of lo cannot be listed: %s", strerror(-error));
	for (size_t i = 0; i < list.count; i++) {
		error = delete_address(socket, &list, &list.all[i]);
		if (error)
			log_warning("an address of lo cannot be removed: %s; see `ip address show "
				    "dev lo`",
				    strerror(-error));
		else
			released++;
	}
	free(list.all);
	if (socket)
		mnl_socket_close(socket);
	return released;
}
