/* SPDX-License-Identifier: BSD-2-Clause */
#include "holders.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A descriptor of a process: a socket's inode, or 0. */
static unsigned long socket_inode(int descriptors, const char *name)
{
	char target[64];
	ssize_t length = readlinkat(descriptors, name, target, sizeof(target) - 1);
	unsigned long inode;

	if (length < 0)
		return 0;
	target[length] = 0;
	return sscanf(target, "socket:[%lu]", &inode) == 1 ? inode : 0;
}

static void count_process(const char *pid, struct holding *holdings, size_t count)
{
	bool *seen = calloc(count, sizeof(*seen)); /* one process may hold it twice */
	struct dirent *entry;
	char path[64];
	DIR *descriptors;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	descriptors = seen ? opendir(path) : NULL;
	while (descriptors && (entry = readdir(descriptors))) {
		unsigned long inode = socket_inode(dirfd(descriptors), entry->d_name);

		for (size_t i = 0; inode && i < count; i++)
			if (holdings[i].inode == inode)
				seen[i] = true;
	}
	if (descriptors)
		closedir(descriptors);
	for (size_t i = 0; seen && i < count; i++)
		holdings[i].processes += seen[i];
	free(seen);
}

void holders_count(struct holding *holdings, size_t count)
{
	DIR *processes = count ? opendir("/proc") : NULL;
	struct dirent *entry;

	while (processes && (entry = readdir(processes)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			count_process(entry->d_name, holdings, count);
	if (processes)
		closedir(processes);
}
