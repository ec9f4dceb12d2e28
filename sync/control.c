/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.c - HTTP and JSON on RUNTIME/control.sock, for `limpet` and for `curl --unix-socket`.
 *
 * Answers what only the agent knows, and takes commands. The tables themselves are read from the
 * pinned maps by `limpet show`, so that a million entries never stop the event loop.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "interfaces.h"
#include "log.h"
#include "metrics.h"
#include "monitors.h"

struct control_part {
	struct agent *agent;
	struct evhttp *http;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct monitors monitors;
};

/* ------------------------------------------------------------------------------------------
 * answers */

/* Takes the reference. */
static void reply(struct evhttp_request *request, int status, struct json_object *body)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(request);

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "application/json");
	evbuffer_add_printf(out, "%s\n",
			    json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN));
	json_object_put(body);
	evhttp_send_reply(request, status, NULL, NULL);
}

static void reply_text(struct evhttp_request *request, int status, const char *member,
		       const char *text)
{
	struct json_object *body = json_object_new_object();

	json_object_object_add(body, member, json_object_new_string(text));
	reply(request, status, body);
}

/* The outcome of a command: 0 or a negative errno; `what` is all that there is to say of -ENOENT,
 * -EBUSY and -EINVAL. */
static void reply_result(struct evhttp_request *request, int result, const char *what)
{
	bool told = result == -ENOENT || result == -EBUSY || result == -EINVAL;
	int status = result == -ENOENT ? HTTP_NOTFOUND : result == -EBUSY ? 409 : HTTP_BADREQUEST;
	char text[256];

	snprintf(text, sizeof(text), "%s%s%s", what, told ? "" : ": ",
		 told ? "" : strerror(-result));
	if (result)
		reply_text(request, status, "error", text);
	else
		reply_text(request, HTTP_OK, "result", "ok");
}

/* The same, with the whole line of what is wrong. */
static void reply_line(struct evhttp_request *request, int result, const char *line)
{
	if (result)
		reply_text(request, HTTP_BADREQUEST, "error", line);
	else
		reply_text(request, HTTP_OK, "result", "ok");
}

static const char *parameter(struct evkeyvalq *query, const char *name)
{
	const char *value = evhttp_find_header(query, name);

	return value && *value ? value : NULL;
}

/* ------------------------------------------------------------------------------------------
 * what there is */

static struct json_object *router_status(const struct agent *agent)
{
	struct json_object *router = json_object_new_object();
	struct router_role role = {};
	char missing[4096] = "";
	__u32 zero = 0;

	maps_get(&agent->maps, MAP_ROLE, &zero, &role);
	json_object_object_add(
		router, "role",
		json_object_new_string(role.role == ROLE_ACTIVE ? "active" : "standby"));
	json_object_object_add(router, "ready",
			       json_object_new_boolean(
				       router_ready(agent->router, missing, sizeof(missing)) == 0));
	json_object_object_add(router, "epoch", json_object_new_int64(role.epoch));
	json_object_object_add(router, "missing", json_object_new_string(missing));
	json_object_object_add(router, "roster_written",
			       json_object_new_boolean(router_roster_written(agent->router)));
	return router;
}

static void add_interface(const struct agent *agent, struct json_object *body)
{
	const char *name = interface_without_xdp(agent->config);

	json_object_object_add(body, "interface_without_xdp",
			       name ? json_object_new_string(name) : NULL);
}

static void get_status(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	struct json_object *body = json_object_new_object(), *roles = json_object_new_array();

	(void)query;
	if (agent->router)
		json_object_array_add(roles, json_object_new_string("router"));
	if (agent->target)
		json_object_array_add(roles, json_object_new_string("target"));
	json_object_object_add(body, "node", json_object_new_string(agent->config->node));
	json_object_object_add(body, "version", json_object_new_string(LIMPET_VERSION));
	json_object_object_add(body, "pid", json_object_new_int(getpid()));
	json_object_object_add(body, "roles", roles);
	if (agent->router)
		json_object_object_add(body, "router", router_status(agent));
	add_interface(agent, body);
	reply(request, HTTP_OK, body);
}

static void get_targets(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	(void)query;
	reply(request, HTTP_OK,
	      agent->router ? router_targets_json(agent->router) : json_object_new_array());
}

static void get_routers(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	(void)query;
	reply(request, HTTP_OK,
	      agent->target ? target_routers_json(agent->target) : json_object_new_array());
}

static void get_instances(struct agent *agent, struct evhttp_request *request,
			  struct evkeyvalq *query)
{
	(void)query;
	reply(request, HTTP_OK,
	      agent->target ? target_instances_json(agent->target) : json_object_new_array());
}

/* Moves the rows of one array to the end of another. Takes the reference of `from`. */
static void append(struct json_object *to, struct json_object *from)
{
	for (size_t i = 0; i < json_object_array_length(from); i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
	json_object_put(from);
}

static void get_sync(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	struct json_object *peers = json_object_new_array();

	(void)query;
	if (agent->router)
		append(peers, router_sync_json(agent->router));
	if (agent->target)
		append(peers, target_sync_json(agent->target));
	reply(request, HTTP_OK, peers);
}

/* 200 ready, 503 not; 404 where there is no router. */
static void get_ready(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	struct json_object *body;
	char missing[4096] = "";
	int not_ready;

	(void)query;
	if (!agent->router) {
		reply_text(request, HTTP_NOTFOUND, "error", "this node is no router");
		return;
	}
	not_ready = router_ready(agent->router, missing, sizeof(missing));
	body = json_object_new_object();
	json_object_object_add(body, "ready", json_object_new_boolean(!not_ready));
	json_object_object_add(body, "missing", json_object_new_string(missing));
	add_interface(agent, body);
	reply(request, not_ready ? HTTP_SERVUNAVAIL : HTTP_OK, body);
}

static void get_metrics(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	(void)query;
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "text/plain; version=0.0.4");
	metrics_write(agent, evhttp_request_get_output_buffer(request));
	evhttp_send_reply(request, HTTP_OK, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------
 * commands */

static void post_role(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	(void)query;
	if (agent->router)
		router_role_changed(agent->router);
	reply_result(request, agent->router ? 0 : -ENOENT, "this node is no router");
}

static void post_reload(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	char error[CONFIG_ERROR];

	(void)query;
	reply_line(request, agent_reload(agent, error), error);
}

static void post_reload_check(struct agent *agent, struct evhttp_request *request,
			      struct evkeyvalq *query)
{
	char error[CONFIG_ERROR];

	(void)query;
	reply_line(request, agent_reload_check(agent, error), error);
}

static void post_forget(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	const char *target = parameter(query, "target");
	char text[256];
	int result;

	if (!agent->router || !target) {
		reply_result(request, agent->router ? -EINVAL : -ENOENT,
			     agent->router ? "parameter target is missing"
					   : "targets are forgotten at routers; this node is none");
		return;
	}
	result = router_forget(agent->router, target);
	snprintf(text, sizeof(text), "%s: %s", target,
		 result == -EBUSY    ? "its session is open; stop limpetd there first"
		 : result == -ENOENT ? "no such target; `limpet show targets` lists them"
				     : "cannot be forgotten");
	reply_result(request, result, text);
}

static void post_release(struct agent *agent, struct evhttp_request *request,
			 struct evkeyvalq *query)
{
	const char *client = parameter(query, "client"), *service = parameter(query, "service");
	struct address address;
	int result;

	if (!agent->target) {
		reply_result(
			request, -ENOENT,
			"affinities are released at the target that holds them; this node is none");
		return;
	}
	if (!client || !service || address_parse(client, &address)) {
		reply_result(request, -EINVAL,
			     "parameters client (an address) and service are missing");
		return;
	}
	result = target_release(agent->target, &address, service);
	if (result == -ENXIO)
		reply_result(request, -ENOENT,
			     "no such service; `limpet show services` lists them");
	else
		reply_result(request, result, "this client has no affinity here");
}

static bool read_instance(struct evkeyvalq *query, uint64_t *instance)
{
	const char *text = parameter(query, "instance");
	char *end = NULL;

	*instance = 0;
	if (!text)
		return true;
	errno = 0;
	*instance = strtoull(text, &end, 10);
	return !errno && !*end && *instance;
}

/* What is drained, or is not any more, is so also when that cannot be written down. */
static void reply_drain(struct evhttp_request *request, int result)
{
	reply_result(request, result,
		     result == -ENOENT ? "no such instance; `limpet show instances` lists them"
				       : "in force, but lost with a restart of limpetd, for "
					 "target.json in state_directory cannot be written");
}

static void post_drain(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	uint64_t instance;

	if (!agent->target || !read_instance(query, &instance)) {
		reply_result(request, agent->target ? -EINVAL : -ENOENT,
			     agent->target
				     ? "parameter instance is not an id"
				     : "targets are drained by themselves; this node is none");
		return;
	}
	reply_drain(request,
		    target_drain(agent->target, instance, parameter(query, "end_affinities")));
}

static void post_resume(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	uint64_t instance;

	if (!agent->target || !read_instance(query, &instance)) {
		reply_result(request, agent->target ? -EINVAL : -ENOENT,
			     agent->target
				     ? "parameter instance is not an id"
				     : "targets are drained by themselves; this node is none");
		return;
	}
	reply_drain(request, target_resume(agent->target, instance));
}

static void on_left(struct evhttp_request *request, void *context)
{
	(void)request;
	agent_leave(context);
}

/* Once the answer is written: limpetd ends, and its lock tells when it has. */
static void post_leave(struct agent *agent, struct evhttp_request *request, struct evkeyvalq *query)
{
	(void)query;
	evhttp_request_set_on_complete_cb(request, on_left, agent);
	reply_result(request, 0, "");
}

/* ------------------------------------------------------------------------------------------
 * monitor */

static void get_monitor(struct agent *agent, struct evhttp_request *request,
			struct evkeyvalq *query)
{
	(void)query;
	if (monitors_add(&agent->control->monitors, request, agent->config->node))
		reply_result(request, -ENOMEM, "monitor");
}

bool control_has_listener(const struct control_part *control)
{
	return control && !LIST_EMPTY(&control->monitors);
}

void control_event(struct control_part *control, struct json_object *event)
{
	if (control_has_listener(control))
		monitors_tell(&control->monitors, event);
	json_object_put(event);
}

/* ------------------------------------------------------------------------------------------
 * server */

static const struct route {
	enum evhttp_cmd_type method;
	const char *path;
	void (*answer)(struct agent *agent, struct evhttp_request *request,
		       struct evkeyvalq *query);
} routes[] = {
	{EVHTTP_REQ_GET, "/status", get_status},
	{EVHTTP_REQ_GET, "/targets", get_targets},
	{EVHTTP_REQ_GET, "/routers", get_routers},
	{EVHTTP_REQ_GET, "/instances", get_instances},
	{EVHTTP_REQ_GET, "/sync", get_sync},
	{EVHTTP_REQ_GET, "/ready", get_ready},
	{EVHTTP_REQ_GET, "/metrics", get_metrics},
	{EVHTTP_REQ_GET, "/monitor", get_monitor},
	{EVHTTP_REQ_POST, "/role", post_role},
	{EVHTTP_REQ_POST, "/reload", post_reload},
	{EVHTTP_REQ_POST, "/reload/check", post_reload_check},
	{EVHTTP_REQ_POST, "/forget", post_forget},
	{EVHTTP_REQ_POST, "/affinity/release", post_release},
	{EVHTTP_REQ_POST, "/drain", post_drain},
	{EVHTTP_REQ_POST, "/resume", post_resume},
	{EVHTTP_REQ_POST, "/leave", post_leave},
};

static void handle(struct evhttp_request *request, void *context)
{
	struct control_part *control = context;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = evhttp_uri_get_path(uri), *text = evhttp_uri_get_query(uri);
	struct evkeyvalq query;
	bool known = false;

	evhttp_parse_query_str(text ? text : "", &query);
	for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
		if (!path || strcmp(path, routes[i].path))
			continue;
		known = true;
		if (evhttp_request_get_command(request) != routes[i].method)
			continue;
		routes[i].answer(control->agent, request, &query);
		goto out;
	}
	reply_text(request, known ? HTTP_BADMETHOD : HTTP_NOTFOUND, "error",
		   known ? "wrong method for this path" : "no such path");
out:
	evhttp_clear_headers(&query);
}

static int open_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, result;

	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(path); /* of a predecessor that was killed: the lock file says that none lives */
	mask = umask(0177);
	result = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 16) ? -errno
											  : 0;
	umask(mask);
	if (!result)
		return fd;
	close(fd);
	return result;
}

struct control_part *control_start(struct agent *agent)
{
	struct control_part *control = calloc(1, sizeof(*control));
	int fd = -ENOMEM, length;

	if (!control)
		goto failed;
	control->agent = agent;
	LIST_INIT(&control->monitors);
	length = snprintf(control->path, sizeof(control->path), "%s/control.sock",
			  agent->config->runtime_directory);
	fd = -ENAMETOOLONG;
	if (length >= (int)sizeof(control->path))
		goto failed;
	fd = open_socket(control->path);
	if (fd < 0)
		goto failed;
	control->http = evhttp_new(agent->base);
	if (!control->http || evhttp_accept_socket(control->http, fd)) {
		close(fd);
		fd = -ENOMEM;
		goto failed;
	}
	evhttp_set_max_body_size(control->http, 4096);
	evhttp_set_max_headers_size(control->http, 8192);
	evhttp_set_gencb(control->http, handle, control);
	return control;
failed:
	log_error("control socket %s: %s; is runtime_directory there and writable?",
		  control && *control->path ? control->path : "", strerror(-fd));
	if (control && control->http)
		evhttp_free(control->http);
	free(control);
	return NULL;
}

void control_stop(struct control_part *control)
{
	if (!control)
		return;
	evhttp_free(control->http); /* closes the connections, which frees the monitors */
	unlink(control->path);
	free(control);
}
