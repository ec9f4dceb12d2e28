/* SPDX-License-Identifier: BSD-2-Clause */
#include "interfaces.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "maps.h"

unsigned int interfaces_list(const struct config *config, const char *names[ALL_INTERFACES])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->router.interface_count; i++)
		names[count++] = config->router.interfaces[i];
	for (unsigned int i = 0; i < config->target.interface_count; i++) {
		unsigned int j = 0;

		while (j < count && strcmp(names[j], config->target.interfaces[i]))
			j++;
		if (j == count)
			names[count++] = config->target.interfaces[i];
	}
	return count;
}

void interface_link_name(const char *interface, char name[INTERFACE_LINK_NAME])
{
	snprintf(name, INTERFACE_LINK_NAME, "xdp_%s", interface);
	for (char *c = name; *c; c++)
		if (*c == '.')
			*c = ':';
}

bool interface_link_is_on(int link, unsigned int index)
{
	struct bpf_link_info info = {0};
	__u32 length = sizeof(info);

	return !bpf_obj_get_info_by_fd(link, &info, &length) && info.xdp.ifindex == index;
}

bool interface_has_xdp(const struct config *config, const char *interface)
{
	unsigned int index = if_nametoindex(interface);
	char name[INTERFACE_LINK_NAME];
	bool attached;
	int link;

	interface_link_name(interface, name);
	link = index ? maps_open_pin(config->pin_path, "links", name) : -1;
	if (link < 0)
		return false;
	attached = interface_link_is_on(link, index);
	close(link);
	return attached;
}

const char *interface_without_xdp(const struct config *config)
{
	const char *names[ALL_INTERFACES];
	unsigned int count = interfaces_list(config, names);

	for (unsigned int i = 0; i < count; i++)
		if (!interface_has_xdp(config, names[i]))
			return names[i];
	return NULL;
}
