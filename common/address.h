/* SPDX-License-Identifier: BSD-2-Clause */
/* address.h - text to addresses and back. IPv4 is kept as ::ffff:a.b.c.d, everywhere (layout.h). */
#ifndef LIMPET_ADDRESS_H
#define LIMPET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "layout.h"

#define ADDRESS_TEXT 64 /* holds "[v6]:port" or "v6/128" with the NUL */

struct prefix {
	struct address address;
	unsigned int length; /* of 128 */
};

/* "10.7.0.2" or "2001:db8::1": 0 or -EINVAL. */
int address_parse(const char *text, struct address *address);
/* "10.7.0.2:7562" or "[2001:db8::1]:7562": 0 or -EINVAL. */
int endpoint_parse(const char *text, struct address *address, __be16 *port);
/* "203.0.113.0/24", a bare address is one host: 0 or -EINVAL (also when bits beyond the length are
 * set). */
int prefix_parse(const char *text, struct prefix *prefix);

const char *address_format(const struct address *address,
			   char text[ADDRESS_TEXT]); /* returns text */
const char *endpoint_format(const struct address *address, __be16 port, char text[ADDRESS_TEXT]);

bool address_is_ipv4(const struct address *address);
bool address_is_zero(const struct address *address);
bool address_is_any(const struct address *address); /* 0.0.0.0 or :: */
bool address_equal(const struct address *a, const struct address *b);
bool prefix_contains(const struct prefix *prefix, const struct address *address);
/* Clear the bits beyond `length` of 128. */
void address_mask(struct address *address, unsigned int length);

void address_from_socket(const struct sockaddr *socket, struct address *address, __be16 *port);
socklen_t address_to_socket(const struct address *address, __be16 port,
			    struct sockaddr_storage *socket);

#endif
