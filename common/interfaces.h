/* SPDX-License-Identifier: BSD-2-Clause */
/* interfaces.h - the interfaces of a node, and whether our XDP program is on them. */
#ifndef LIMPET_INTERFACES_H
#define LIMPET_INTERFACES_H

#include "config.h"

#define ALL_INTERFACES	    (2 * CONFIG_MAX_INTERFACES)
#define INTERFACE_LINK_NAME 64

/* Those of both roles, each once; their number. */
unsigned int interfaces_list(const struct config *config, const char *names[ALL_INTERFACES]);

/* The name of its pinned link: "xdp_IFACE". bpffs allows no dot in a name: there it is a colon,
 * which no interface's name has. */
void interface_link_name(const char *interface, char name[INTERFACE_LINK_NAME]);

/* Is it the link of the interface that has this index? One that went with its interface has index
 * 0. */
bool interface_link_is_on(int link, unsigned int index);

/* Is the program of what is loaded on it? It may have been deleted and made anew since. */
bool interface_has_xdp(const struct config *config, const char *interface);
/* The first interface of the configuration on which it is not, or NULL. */
const char *interface_without_xdp(const struct config *config);
#define INTERFACE_WITHOUT_XDP "%s: no XDP program is attached: limpet load"

#endif
