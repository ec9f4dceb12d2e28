/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_refuse.c - listeners that cannot be adopted, or not now. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "listeners_adopt.h"
#include "log.h"

/* The wildcard of IPv4 and that of IPv6 are the same address here. */
const char *listener_place(const struct diag_socket *socket, char text[ADDRESS_TEXT])
{
	if (socket->family == AF_INET && address_is_zero(&socket->local))
		snprintf(text, ADDRESS_TEXT, "0.0.0.0:%u", ntohs(socket->local_port));
	else
		endpoint_format(&socket->local, socket->local_port, text);
	return text;
}

void listener_refuse(struct listeners *listeners, const struct candidate *candidate, int err,
		     const char *why)
{
	struct unadoptable *entry =
		unadoptable_add(&listeners->unadoptable, candidate->socket.cookie);
	char text[ADDRESS_TEXT];
	bool said;

	if (!entry)
		return;
	said = strcmp(entry->remedy, why) == 0 ||
	       unadoptable_find(&listeners->before, entry->cookie);
	entry->pid = candidate->owner.pid;
	entry->service = candidate->service;
	entry->steered = strcmp(why, WHY_STEERED) == 0;
	entry->crowded = err == -EMLINK || err == -ENOSPC;
	process_command(entry->pid, entry->command);
	snprintf(entry->remedy, sizeof(entry->remedy), "%s", why);
	if (said)
		return;
	log_warning("service %s: the listener of %s (pid %u) on %s is no instance: %s",
		    listeners->target->numbers->service[candidate->service].name, entry->command,
		    entry->pid, listener_place(&candidate->socket, text), why);
}

void listeners_make_room(struct listeners *listeners)
{
	for (unsigned int i = 0; i < listeners->unadoptable.count; i++) {
		if (!listeners->unadoptable.entry[i].crowded)
			continue;
		listeners->room = true;
		/* All that close in this turn make one pass. */
		event_active(listeners->again, EV_TIMEOUT, 0);
		return;
	}
}
