/* SPDX-License-Identifier: BSD-2-Clause */
/* crht.h - the rows of the connection routing hash table, read from the pinned maps; no agent is
 * needed. */
#ifndef LIMPET_CRHT_H
#define LIMPET_CRHT_H

#include <stdint.h>

#include "listing.h"
#include "node.h"

struct crht_filter {
	const char *service; /* NULL: all */
	bool has_client;     /* connections of this client; affinities that cover it */
	struct address client;
};

/* A node with both roles knows a connection that it forwards to itself twice: there each row says
 * by which role. */
const struct column *crht_connection_columns(const struct node *node);
const struct column *crht_affinity_columns(const struct node *node);

/* 0 or -errno. */
int crht_connections(struct node *node, const struct crht_filter *filter, struct listing *listing);
int crht_affinities(struct node *node, const struct crht_filter *filter, struct listing *listing);

/* In how many ms the last of this instance's affinities (0: of any) expires, those left out that
 * cannot while their client is connected; -1: there is none. */
int64_t crht_latest_expiry_ms(struct node *node, __u64 instance);

__u64 crht_now_ns(void);

#endif
