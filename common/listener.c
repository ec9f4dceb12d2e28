/* SPDX-License-Identifier: BSD-2-Clause */
#include "listener.h"

#include <sys/socket.h>

#include "address.h"

bool listener_serves(const struct group_key *group, bool v6only, const struct service_key *service)
{
	if (group->port != service->port)
		return false;
	if (!address_is_zero(&group->bound))
		return address_equal(&group->bound, &service->address);
	if (address_is_ipv4(&service->address))
		return group->family == AF_INET || !v6only;
	return group->family == AF_INET6;
}

unsigned int listener_rank(const struct group_key *group)
{
	return 2 * !address_is_zero(&group->bound) + (group->family == AF_INET);
}
