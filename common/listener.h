/* SPDX-License-Identifier: BSD-2-Clause */
/* listener.h - which services a listener serves. */
#ifndef LIMPET_LISTENER_H
#define LIMPET_LISTENER_H

#include <stdbool.h>

#include "layout.h"

/* Would a connection to the service reach a listener that is bound like this? */
bool listener_serves(const struct group_key *group, bool v6only, const struct service_key *service);
/* How closely it is bound. Of all that serve a service, those of the highest rank get its new
 * connections (inet_lookup_listener in Linux: an address comes before a wildcard, and of two alike
 * the one that is for IPv4 alone comes first). */
unsigned int listener_rank(const struct group_key *group);

#endif
