/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitors.h - whoever listens to events (`limpet monitor`): an HTTP answer that never ends, one
 * object of JSON a line. The first line names the node; from then on nothing is missed.
 */
#ifndef LIMPET_MONITORS_H
#define LIMPET_MONITORS_H

#include <event2/http.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <sys/queue.h>

struct monitor;

LIST_HEAD(monitors, monitor);

/* Answer this request with events until its listener goes: 0 or -ENOMEM, and nothing is answered.
 */
int monitors_add(struct monitors *monitors, struct evhttp_request *request, const char *node);
/* One line to each. A listener that does not read loses its connection. */
void monitors_tell(struct monitors *monitors, struct json_object *event);

#endif
