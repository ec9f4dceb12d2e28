/* SPDX-License-Identifier: BSD-2-Clause */
/* listener.h - which services a listener serves. */
#ifndef LIMPET_LISTENER_H
#define LIMPET_LISTENER_H

#include <stdbool.h>

#include "layout.h"

/* Would a connection to the service reach a listener that is bound like this? */
bool listener_serves(const struct group_key *group, bool v6only, const struct service_key *service);

#endif
