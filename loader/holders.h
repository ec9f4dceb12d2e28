/* SPDX-License-Identifier: BSD-2-Clause */
/* holders.h - how many processes hold a socket. */
#ifndef LIMPET_HOLDERS_H
#define LIMPET_HOLDERS_H

#include <stddef.h>

struct holding {
	unsigned long inode; /* of the socket; the caller's question */
	unsigned int processes;
};

/* Looks through the descriptors of every process that can be seen. */
void holders_count(struct holding *holdings, size_t count);

#endif
