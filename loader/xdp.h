/* SPDX-License-Identifier: BSD-2-Clause */
/* xdp.h - attach an XDP program: natively where the driver can, else generically. */
#ifndef LIMPET_XDP_H
#define LIMPET_XDP_H

/* The fd of the new link, and a line that says which way; or -errno, and a line that says why not.
 */
int xdp_attach(const char *interface, unsigned int index, int program);

/* Is the interface free for xdp_attach? -EBUSY with a line that says whose program is there. */
int xdp_check(const char *interface, unsigned int index);

#endif
