/* SPDX-License-Identifier: BSD-2-Clause */
#include "unadoptable.h"

#include <stdlib.h>

static struct unadoptable *find(const struct unadoptables *list, uint64_t cookie)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->entry[i].cookie == cookie)
			return &list->entry[i];
	return NULL;
}

const struct unadoptable *unadoptable_find(const struct unadoptables *list, uint64_t cookie)
{
	return find(list, cookie);
}

struct unadoptable *unadoptable_add(struct unadoptables *list, uint64_t cookie)
{
	struct unadoptable *entry = find(list, cookie);

	if (entry)
		return entry;
	if (list->count == list->room) {
		unsigned int room = list->room ? list->room * 2 : 16;
		struct unadoptable *more = realloc(list->entry, room * sizeof(*more));

		if (!more)
			return NULL;
		list->entry = more;
		list->room = room;
	}
	entry = &list->entry[list->count++];
	*entry = (struct unadoptable){.cookie = cookie};
	return entry;
}

void unadoptable_remove(struct unadoptables *list, uint64_t cookie)
{
	struct unadoptable *entry = find(list, cookie);

	if (entry)
		*entry = list->entry[--list->count];
}
