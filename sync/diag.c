/* SPDX-License-Identifier: BSD-2-Clause */
#include "diag.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "address.h"

#define PIECE 32768

struct diag {
	struct mnl_socket *netlink;
	uint32_t states;
	unsigned int sequence;
	unsigned int family; /* index into families */
	char piece[PIECE];
};

static const uint8_t families[] = {AF_INET, AF_INET6};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

static int request(struct diag *diag, const struct inet_diag_req_v2 *body, uint16_t flags)
{
	char buffer[NLMSG_ALIGN(sizeof(struct nlmsghdr)) + NLMSG_ALIGN(sizeof(*body))];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	header->nlmsg_seq = ++diag->sequence;
	memcpy(mnl_nlmsg_put_extra_header(header, sizeof(*body)), body, sizeof(*body));
	if (mnl_socket_sendto(diag->netlink, header, header->nlmsg_len) < 0)
		return -errno;
	return 0;
}

static int request_family(struct diag *diag)
{
	struct inet_diag_req_v2 body = {
		.sdiag_family = families[diag->family],
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_ext = 1 << (INET_DIAG_INFO - 1), /* brings the name of the ULP as well */
		.idiag_states = diag->states,
	};

	return request(diag, &body, NLM_F_DUMP);
}

static int open_diag(struct diag **out)
{
	struct diag *diag = calloc(1, sizeof(*diag));
	int err;

	if (!diag)
		return -ENOMEM;
	diag->netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!diag->netlink) {
		err = -errno;
		free(diag);
		return err;
	}
	if (mnl_socket_bind(diag->netlink, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		diag_end(diag);
		return err;
	}
	*out = diag;
	return 0;
}

int diag_begin(uint32_t states, struct diag **out)
{
	struct diag *diag;
	int err = open_diag(&diag);

	if (err)
		return err;
	diag->states = states;
	err = request_family(diag);
	if (err) {
		diag_end(diag);
		return err;
	}
	*out = diag;
	return 0;
}

void diag_end(struct diag *diag)
{
	if (!diag)
		return;
	mnl_socket_close(diag->netlink);
	free(diag);
}

static void read_address(uint8_t family, const __be32 words[4], struct address *address)
{
	static const struct address zero;

	*address = zero;
	if (family == AF_INET6) {
		memcpy(address->byte, words, 16);
		return;
	}
	if (!words[0])
		return;
	address->byte[10] = address->byte[11] = 0xff;
	memcpy(address->byte + 12, words, 4);
}

static bool is_mptcp(const struct nlattr *ulp)
{
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, ulp)
	{
		if (mnl_attr_get_type(attribute) == INET_ULP_INFO_NAME &&
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
			return strcmp(mnl_attr_get_str(attribute), "mptcp") == 0;
	}
	return false;
}

static int read_socket(const struct nlmsghdr *header, struct diag_socket *socket)
{
	const struct inet_diag_msg *body = mnl_nlmsg_get_payload(header);
	const struct nlattr *attribute;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*body))
		return -EPROTO;
	*socket = (struct diag_socket){
		.cookie = (uint64_t)body->id.idiag_cookie[1] << 32 | body->id.idiag_cookie[0],
		.inode = body->idiag_inode,
		.ifindex = body->id.idiag_if,
		.family = body->idiag_family,
		.state = body->idiag_state,
		.local_port = body->id.idiag_sport,
		.remote_port = body->id.idiag_dport,
	};
	read_address(body->idiag_family, body->id.idiag_src, &socket->local);
	read_address(body->idiag_family, body->id.idiag_dst, &socket->remote);
	mnl_attr_for_each(attribute, header, sizeof(*body))
	{
		uint16_t type = mnl_attr_get_type(attribute);

		if (type == INET_DIAG_SKV6ONLY && mnl_attr_get_payload_len(attribute) >= 1)
			socket->v6only = mnl_attr_get_u8(attribute);
		else if (type == INET_DIAG_ULP_INFO)
			socket->mptcp = is_mptcp(attribute);
	}
	return 0;
}

/* Call each for every socket in the piece: 1 when the list of this family goes on, 0 when not. */
static int read_piece(const struct diag *diag, int length,
		      void (*each)(void *context, const struct diag_socket *socket), void *context)
{
	const struct nlmsghdr *header = (const void *)diag->piece;
	struct diag_socket socket;

	for (; mnl_nlmsg_ok(header, length); header = mnl_nlmsg_next(header, &length)) {
		if (header->nlmsg_seq != diag->sequence)
			continue;
		if (header->nlmsg_type == NLMSG_DONE)
			return 0;
		if (header->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);

			return error->error ? error->error : -EPROTO;
		}
		if (read_socket(header, &socket) == 0)
			each(context, &socket);
	}
	return 1;
}

int diag_next(struct diag *diag, void (*each)(void *context, const struct diag_socket *socket),
	      void *context)
{
	ssize_t length;
	int more, err;

	length = mnl_socket_recvfrom(diag->netlink, diag->piece, sizeof(diag->piece));
	if (length < 0)
		return -errno;
	more = read_piece(diag, length, each, context);
	if (more)
		return more;
	if (++diag->family == FAMILIES)
		return 0;
	err = request_family(diag);
	return err ? err : 1;
}

int diag_list(uint32_t states, void (*each)(void *context, const struct diag_socket *socket),
	      void *context)
{
	struct diag *diag;
	int err = diag_begin(states, &diag);

	if (err)
		return err;
	do {
		err = diag_next(diag, each, context);
	} while (err > 0);
	diag_end(diag);
	return err;
}

static void write_address(const struct address *address, uint8_t family, __be32 words[4])
{
	memset(words, 0, 16);
	if (family == AF_INET6)
		memcpy(words, address->byte, 16);
	else
		memcpy(words, address->byte + 12, 4);
}

/* A connection of an IPv4 client may be an IPv6 socket's: the kernel finds it under either family,
 * for it compares the mapped addresses itself. */
int diag_find(const struct service_key *service, const struct address *client, __be16 client_port,
	      uint64_t cookie, struct diag_socket *socket)
{
	uint8_t family = address_is_ipv4(client) ? AF_INET : AF_INET6;
	struct inet_diag_req_v2 body = {
		.sdiag_family = family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = ~0U,
		.id = {.idiag_sport = service->port,
		       .idiag_dport = client_port,
		       .idiag_cookie = {(uint32_t)cookie, cookie >> 32}},
	};
	const struct nlmsghdr *header;
	struct diag *diag;
	ssize_t length;
	int err;

	write_address(&service->address, family, body.id.idiag_src);
	write_address(client, family, body.id.idiag_dst);
	err = open_diag(&diag);
	if (err)
		return err;
	err = request(diag, &body, 0);
	if (err)
		goto out;
	length = mnl_socket_recvfrom(diag->netlink, diag->piece, sizeof(diag->piece));
	if (length < 0) {
		err = -errno;
		goto out;
	}
	header = (const void *)diag->piece;
	err = -EPROTO;
	if (!mnl_nlmsg_ok(header, length))
		goto out;
	if (header->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);

		/* ESTALE: the addresses and ports are another socket's now. */
		err = error->error == -ESTALE ? -ENOENT : error->error;
		goto out;
	}
	err = read_socket(header, socket);
out:
	diag_end(diag);
	return err;
}
