/* SPDX-License-Identifier: BSD-2-Clause */
#include "netlink.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <string.h>
#include <sys/socket.h>

#include "address.h"

#define REQUEST_SIZE 256
#define ANSWER_SIZE  16384

static const __u8 mapped[12] = {[10] = 0xff, [11] = 0xff};

static __u8 family_of(const struct address *address)
{
	return address_is_ipv4(address) ? AF_INET : AF_INET6;
}

static void put_address(struct nlmsghdr *request, uint16_t type, const struct address *address)
{
	if (address_is_ipv4(address))
		mnl_attr_put(request, type, 4, address->byte + 12);
	else
		mnl_attr_put(request, type, 16, address->byte);
}

static bool read_address(const void *bytes, size_t length, struct address *address)
{
	if (length == 16) {
		memcpy(address->byte, bytes, 16);
		return true;
	}
	if (length != 4)
		return false;
	memcpy(address->byte, mapped, sizeof(mapped));
	memcpy(address->byte + 12, bytes, 4);
	return true;
}

/* Send it, and read the answer into buffer: the message, NULL for a bare acknowledgement. */
static int ask(struct mnl_socket *socket, struct nlmsghdr *request, char *buffer,
	       const struct nlmsghdr **answer)
{
	static unsigned int sequence;
	ssize_t length;

	request->nlmsg_seq = ++sequence;
	*answer = NULL;
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		const struct nlmsghdr *message = (const void *)buffer;

		length = mnl_socket_recvfrom(socket, buffer, ANSWER_SIZE);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		if (!mnl_nlmsg_ok(message, (int)length) || message->nlmsg_seq != sequence)
			continue;
		if (message->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
		*answer = message;
		return 0;
	}
}

static void read_metrics(const struct nlattr *metrics, struct route_answer *answer)
{
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, metrics) if (mnl_attr_get_type(attribute) == RTAX_MTU)
		answer->mtu = mnl_attr_get_u32(attribute);
}

static void read_via(const struct nlattr *attribute, struct route_answer *answer)
{
	const struct rtvia *via = mnl_attr_get_payload(attribute);
	size_t length = mnl_attr_get_payload_len(attribute);

	if (length > sizeof(*via))
		read_address(via->rtvia_addr, length - sizeof(*via), &answer->gateway);
}

int netlink_route(struct mnl_socket *socket, const struct address *address,
		  struct route_answer *answer)
{
	char out[REQUEST_SIZE], in[ANSWER_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(out);
	const struct nlmsghdr *reply;
	const struct nlattr *attribute;
	struct rtmsg *route;
	int error;

	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_REQUEST;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = family_of(address);
	route->rtm_dst_len = address_is_ipv4(address) ? 32 : 128;
	put_address(request, RTA_DST, address);
	error = ask(socket, request, in, &reply);
	if (error)
		return error;
	if (!reply || reply->nlmsg_type != RTM_NEWROUTE)
		return -EPROTO;
	memset(answer, 0, sizeof(*answer));
	answer->type = ((const struct rtmsg *)mnl_nlmsg_get_payload(reply))->rtm_type;
	answer->gateway = *address;
	mnl_attr_for_each(attribute, reply, sizeof(struct rtmsg))
	{
		switch (mnl_attr_get_type(attribute)) {
		case RTA_OIF:
			answer->ifindex = mnl_attr_get_u32(attribute);
			break;
		case RTA_GATEWAY:
			read_address(mnl_attr_get_payload(attribute),
				     mnl_attr_get_payload_len(attribute), &answer->gateway);
			break;
		case RTA_VIA:
			read_via(attribute, answer);
			break;
		case RTA_METRICS:
			read_metrics(attribute, answer);
			break;
		}
	}
	return 0;
}

static void read_vlan(const struct nlattr *info, struct link_answer *answer)
{
	const struct nlattr *attribute, *data = NULL;

	mnl_attr_for_each_nested(attribute, info)
	{
		if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND)
			answer->is_vlan = !strcmp(mnl_attr_get_str(attribute), "vlan");
		else if (mnl_attr_get_type(attribute) == IFLA_INFO_DATA)
			data = attribute;
	}
	if (!answer->is_vlan || !data)
		return;
	mnl_attr_for_each_nested(attribute, data)
	{
		if (mnl_attr_get_type(attribute) == IFLA_VLAN_ID)
			answer->vlan_id = mnl_attr_get_u16(attribute);
		else if (mnl_attr_get_type(attribute) == IFLA_VLAN_PROTOCOL)
			answer->vlan_protocol = ntohs(mnl_attr_get_u16(attribute));
	}
}

int netlink_link(struct mnl_socket *socket, __u32 ifindex, struct link_answer *answer)
{
	char out[REQUEST_SIZE], in[ANSWER_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(out);
	const struct nlmsghdr *reply;
	const struct nlattr *attribute;
	const struct ifinfomsg *info;
	struct ifinfomsg *link;
	int error;

	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST;
	link = mnl_nlmsg_put_extra_header(request, sizeof(*link));
	link->ifi_index = (int)ifindex;
	error = ask(socket, request, in, &reply);
	if (error)
		return error;
	if (!reply || reply->nlmsg_type != RTM_NEWLINK)
		return -EPROTO;
	memset(answer, 0, sizeof(*answer));
	info = mnl_nlmsg_get_payload(reply);
	answer->up = info->ifi_flags & IFF_UP;
	answer->ethernet = info->ifi_type == ARPHRD_ETHER;
	mnl_attr_for_each(attribute, reply, sizeof(*info))
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(attribute) == sizeof(answer->mac))
				memcpy(answer->mac, mnl_attr_get_payload(attribute),
				       sizeof(answer->mac));
			break;
		case IFLA_MTU:
			answer->mtu = mnl_attr_get_u32(attribute);
			break;
		case IFLA_LINK:
			answer->parent = mnl_attr_get_u32(attribute);
			break;
		case IFLA_LINKINFO:
			read_vlan(attribute, answer);
			break;
		}
	}
	return 0;
}

static struct nlmsghdr *neighbour_request(char *out, uint16_t type, uint16_t flags, __u32 ifindex,
					  const struct address *address, __u8 neighbour_flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(out);
	struct ndmsg *neighbour;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	neighbour = mnl_nlmsg_put_extra_header(request, sizeof(*neighbour));
	neighbour->ndm_family = family_of(address);
	neighbour->ndm_ifindex = (int)ifindex;
	neighbour->ndm_flags = neighbour_flags;
	put_address(request, NDA_DST, address);
	return request;
}

int netlink_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address,
		      struct neighbour_answer *answer)
{
	char out[REQUEST_SIZE], in[ANSWER_SIZE];
	const struct nlmsghdr *reply;
	const struct nlattr *attribute;
	int error = ask(socket, neighbour_request(out, RTM_GETNEIGH, 0, ifindex, address, 0), in,
			&reply);

	if (error)
		return error;
	if (!reply || reply->nlmsg_type != RTM_NEWNEIGH)
		return -EPROTO;
	memset(answer, 0, sizeof(*answer));
	answer->state = ((const struct ndmsg *)mnl_nlmsg_get_payload(reply))->ndm_state;
	mnl_attr_for_each(attribute, reply, sizeof(struct ndmsg))
	{
		if (mnl_attr_get_type(attribute) != NDA_LLADDR ||
		    mnl_attr_get_payload_len(attribute) != sizeof(answer->mac))
			continue;
		answer->has_mac = true;
		memcpy(answer->mac, mnl_attr_get_payload(attribute), sizeof(answer->mac));
	}
	return 0;
}

int netlink_use_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address)
{
	char out[REQUEST_SIZE], in[ANSWER_SIZE];
	const struct nlmsghdr *reply;

	return ask(socket,
		   neighbour_request(out, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK,
				     ifindex, address, NTF_USE),
		   in, &reply);
}

int netlink_probe_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address,
			    const __u8 mac[6])
{
	char out[REQUEST_SIZE], in[ANSWER_SIZE];
	struct nlmsghdr *request = neighbour_request(out, RTM_NEWNEIGH, NLM_F_REPLACE | NLM_F_ACK,
						     ifindex, address, 0);
	struct ndmsg *neighbour = mnl_nlmsg_get_payload(request);
	const struct nlmsghdr *reply;

	neighbour->ndm_state = NUD_PROBE;
	mnl_attr_put(request, NDA_LLADDR, 6, mac);
	return ask(socket, request, in, &reply);
}

bool netlink_parse_neighbour(const struct nlmsghdr *message, __u32 *ifindex,
			     struct address *address)
{
	const struct ndmsg *neighbour = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*neighbour))
		return false;
	*ifindex = (__u32)neighbour->ndm_ifindex;
	mnl_attr_for_each(attribute, message, sizeof(*neighbour)) if (
		mnl_attr_get_type(attribute) ==
		NDA_DST) return read_address(mnl_attr_get_payload(attribute),
					     mnl_attr_get_payload_len(attribute), address);
	return false;
}
