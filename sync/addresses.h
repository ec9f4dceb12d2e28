/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addresses.h - the service addresses on lo (rtnetlink). Ours carry the protocol number
 * ADDRESS_PROTOCOL (IFA_PROTO, kernel 5.18), by which a later run and `limpet unload` know them.
 *
 * IPv4 addresses have scope host, so that the kernel never chooses one as the source of this node's
 * own connections; packets from elsewhere reach them all the same. IPv6 addresses are deprecated
 * from the start for the same reason, and nodad: another target has the same one.
 */
#ifndef LIMPET_ADDRESSES_H
#define LIMPET_ADDRESSES_H

#include "layout.h"

#define ADDRESS_PROTOCOL 75

struct addresses;

struct event_base;

/* Reads what is on lo. `removed`: somebody else has taken a service address away. NULL with a line
 * in the log. */
struct addresses *addresses_new(struct event_base *base, void (*removed)(void *context),
				void *context);
void addresses_free(struct addresses *addresses);

/*
 * lo has exactly these service addresses: missing ones are added, ours that are not among them are
 * removed. Somebody else's stay and serve as well. 0, or the first -errno (each has a line in the
 * log); the rest is done all the same.
 */
int addresses_set(struct addresses *addresses, const struct address *wanted, unsigned int count);

#endif
