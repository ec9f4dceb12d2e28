/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "rescan.h"

static int compare(const void *a, const void *b)
{
	const struct rescan_item *left = a, *right = b;

	return left->cookie < right->cookie ? -1 : left->cookie > right->cookie;
}

void rescan_compare(struct rescan_item *entries, size_t entry_count, struct rescan_item *sockets,
		    size_t socket_count, uint64_t began_ns,
		    void (*gone)(void *context, const struct rescan_item *entry),
		    void (*missed)(void *context, const struct rescan_item *socket), void *context)
{
	size_t i = 0, k = 0;

	if (entry_count)
		qsort(entries, entry_count, sizeof(*entries), compare);
	if (socket_count)
		qsort(sockets, socket_count, sizeof(*sockets), compare);
	while (i < entry_count || k < socket_count) {
		bool entry_first = k == socket_count ||
				   (i < entry_count && entries[i].cookie < sockets[k].cookie);

		if (entry_first) {
			if (entries[i].established_ns < began_ns)
				gone(context, &entries[i]);
			i++;
		} else if (i == entry_count || sockets[k].cookie < entries[i].cookie) {
			if (sockets[k].open)
				missed(context, &sockets[k]);
			k++;
		} else {
			i++;
			k++;
		}
	}
}
