/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diag.h - the kernel's own list of TCP sockets, in this network namespace (NETLINK_SOCK_DIAG).
 * All functions return 0 or a negative errno.
 */
#ifndef LIMPET_DIAG_H
#define LIMPET_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

struct diag_socket {
	uint64_t cookie;
	uint32_t inode;
	uint32_t ifindex; /* bound to this interface; 0: to none */
	uint8_t family;
	uint8_t state; /* TCP_LISTEN, … (netinet/tcp.h) */
	bool v6only;
	bool mptcp;	      /* a subflow of MPTCP's, which no process holds */
	struct address local; /* zero: wildcard */
	struct address remote;
	__be16 local_port, remote_port;
};

struct diag;

/* Begin to list the sockets whose state is among `states` (1 << TCP_…): IPv4, then IPv6. */
int diag_begin(uint32_t states, struct diag **diag);
/* Read the next piece (about 32 KiB): 1 when there may be more, 0 at the end. A socket that was
 * there from begin to end may be missed, when others of its hash chain vanish meanwhile. */
int diag_next(struct diag *diag, void (*each)(void *context, const struct diag_socket *socket),
	      void *context);
void diag_end(struct diag *diag);

/* All of the above. */
int diag_list(uint32_t states, void (*each)(void *context, const struct diag_socket *socket),
	      void *context);

/* Just this connection: -ENOENT when there is no socket with this cookie. Exact. */
int diag_find(const struct service_key *service, const struct address *client, __be16 client_port,
	      uint64_t cookie, struct diag_socket *socket);

#endif
