/* SPDX-License-Identifier: BSD-2-Clause */
#include "interface_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "interfaces.h"
#include "log.h"

struct interface_watch {
	struct agent *agent;
	struct event *second;
	/* Empty: every interface has its program. */
	char seen[IF_NAMESIZE]; /* at the last look */
	char said[IF_NAMESIZE];
};

/* What was so at one look only, `limpet load` was just about to change. */
static void look(evutil_socket_t fd, short what, void *context)
{
	struct interface_watch *watch = context;
	const char *name = interface_without_xdp(watch->agent->config);
	char now[IF_NAMESIZE];

	(void)fd;
	(void)what;
	snprintf(now, sizeof(now), "%s", name ? name : "");
	if (!strcmp(now, watch->seen) && strcmp(now, watch->said)) {
		if (*now)
			log_warning(INTERFACE_WITHOUT_XDP, now);
		else
			log_info("%s: the XDP program is attached", watch->said);
		memcpy(watch->said, now, sizeof(now));
	}
	memcpy(watch->seen, now, sizeof(now));
}

struct interface_watch *interface_watch_start(struct agent *agent)
{
	const struct timeval second = {.tv_sec = 1};
	struct interface_watch *watch = calloc(1, sizeof(*watch));

	if (watch) {
		watch->agent = agent;
		watch->second = event_new(agent->base, -1, EV_PERSIST, look, watch);
	}
	if (!watch || !watch->second || event_add(watch->second, &second)) {
		log_error("watch over the interfaces: not begun: %s", strerror(ENOMEM));
		interface_watch_stop(watch);
		return NULL;
	}
	look(-1, 0, watch);
	return watch;
}

void interface_watch_stop(struct interface_watch *watch)
{
	if (!watch)
		return;
	if (watch->second)
		event_free(watch->second);
	free(watch);
}
