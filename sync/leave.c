/* SPDX-License-Identifier: BSD-2-Clause */
#include "leave.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "log.h"
#include "session.h"

#define LIMIT_S 2 /* for routers to answer; GOODBYE takes a second more at most */

/* A session with one router, for a HELLO and a GOODBYE. */
struct farewell {
	struct agent *agent;
	const struct config_endpoint *router;
	struct session *session;
	unsigned int *open;
	bool said;
};

static int on_hello(void *context, struct session *session, const struct message_hello *hello)
{
	struct farewell *farewell = context;

	log_info("router %s: told that this target leaves", hello->name);
	farewell->said = true;
	session_end(session, GOODBYE_LEAVING, "the target unloads");
	return 0;
}

/* What a router says between its HELLO and our GOODBYE is of no interest any more. */
static int on_message(void *context, struct session *session, const struct message *message)
{
	(void)context;
	(void)session;
	(void)message;
	return 0;
}

static void not_told(const struct farewell *farewell, const char *why)
{
	char text[ADDRESS_TEXT];

	log_warning("router %s: not told that this target leaves: %s; `limpet forget` there, or it "
		    "finds out by itself",
		    endpoint_format(&farewell->router->address, farewell->router->port, text), why);
}

static void on_closed(void *context, struct session *session, enum goodbye_reason reason,
		      const char *text)
{
	struct farewell *farewell = context;

	(void)session;
	(void)reason;
	farewell->session = NULL;
	if (!farewell->said)
		not_told(farewell, text && *text ? text : "no answer");
	if (!--*farewell->open)
		event_base_loopbreak(farewell->agent->base);
}

static const struct session_ops ops = {
	.hello = on_hello,
	.message = on_message,
	.closed = on_closed,
};

static void begin(struct farewell *farewell)
{
	const struct agent *agent = farewell->agent;
	const struct config *config = agent->config;
	struct message_hello hello = {
		.version = WIRE_VERSION,
		.role = WIRE_TARGET,
		.node_id = agent->node_id,
		.address = config->target.address,
	};

	snprintf(hello.name, sizeof(hello.name), "%s", config->node);
	farewell->session =
		session_connect(farewell->agent, &farewell->router->address, farewell->router->port,
				&config->target.address, &hello, &ops, farewell);
	if (farewell->session)
		++*farewell->open;
}

/* How many routers have not been told. */
static unsigned int tell_all(struct agent *agent)
{
	const struct config_target *config = &agent->config->target;
	const struct timeval limit = {LIMIT_S, 0};
	struct farewell farewells[MAX_ROUTERS] = {};
	unsigned int open = 0, untold = 0;

	for (unsigned int i = 0; i < config->router_count; i++) {
		farewells[i] = (struct farewell){
			.agent = agent, .router = &config->routers[i], .open = &open};
		begin(&farewells[i]);
	}
	if (open && !event_base_loopexit(agent->base, &limit))
		event_base_dispatch(agent->base);
	for (unsigned int i = 0; i < config->router_count; i++) {
		if (!farewells[i].said && farewells[i].session)
			not_told(&farewells[i], "no answer");
		if (farewells[i].session)
			session_leave(farewells[i].session, GOODBYE_LEAVING, "the target unloads");
		untold += !farewells[i].said;
	}
	return untold;
}

int leave(struct config *config)
{
	struct agent agent;
	int status = EXIT_FAILURE;

	signal(SIGPIPE, SIG_IGN);
	if (agent_open(&agent, config))
		goto out;
	if (!config->has_target)
		log_error("%s is no target: there is nothing that it could leave", config->node);
	else if (!tell_all(&agent))
		status = EXIT_SUCCESS;
out:
	agent_stop(&agent); /* until every GOODBYE has been read */
	return status;
}
