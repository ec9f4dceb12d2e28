/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitors.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>

#define UNSENT_MAX (1 << 20) /* bytes; who is slower than this loses its connection */

struct monitor {
	LIST_ENTRY(monitor) link;
	struct evhttp_request *request;
};

static void on_closed(struct evhttp_connection *connection, void *context)
{
	struct monitor *monitor = context;

	(void)connection;
	LIST_REMOVE(monitor, link);
	free(monitor);
}

static void write_line(struct evhttp_request *request, struct json_object *event)
{
	struct evbuffer *line = evbuffer_new();

	if (!line)
		return;
	evbuffer_add_printf(line, "%s\n",
			    json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN));
	evhttp_send_reply_chunk(request, line);
	evbuffer_free(line);
}

int monitors_add(struct monitors *monitors, struct evhttp_request *request, const char *node)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	struct json_object *first;

	if (!monitor)
		return -ENOMEM;
	monitor->request = request;
	LIST_INSERT_HEAD(monitors, monitor, link);
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, monitor);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "application/x-ndjson");
	evhttp_send_reply_start(request, HTTP_OK, NULL);
	first = json_object_new_object();
	json_object_object_add(first, "event", json_object_new_string("monitor"));
	json_object_object_add(first, "name", json_object_new_string(node));
	write_line(request, first);
	json_object_put(first);
	return 0;
}

void monitors_tell(struct monitors *monitors, struct json_object *event)
{
	struct monitor *monitor, *next;

	for (monitor = LIST_FIRST(monitors); monitor; monitor = next) {
		struct evhttp_connection *connection =
			evhttp_request_get_connection(monitor->request);
		struct bufferevent *buffer = evhttp_connection_get_bufferevent(connection);

		next = LIST_NEXT(monitor, link);
		if (evbuffer_get_length(bufferevent_get_output(buffer)) > UNSENT_MAX)
			evhttp_connection_free(connection); /* on_closed follows */
		else
			write_line(monitor->request, event);
	}
}
