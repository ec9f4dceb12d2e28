/* SPDX-License-Identifier: BSD-2-Clause */
/* target_sessions.c - a session to each configured router, opened by us and opened again when it is
 * lost; and the addresses from which routers' packets are accepted. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "events.h"
#include "log.h"
#include "target_part.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS	 2000
#define STEADY_MS	 5000 /* a session that has lasted so long was no mere attempt */

static unsigned int index_of(const struct router_link *link)
{
	return link - link->target->link;
}

static const char *label(const struct router_link *link, char text[ADDRESS_TEXT])
{
	endpoint_format(&link->endpoint.address, link->endpoint.port, text);
	return link->name[0] ? link->name : text;
}

/* ------------------------------------------------------------------------------------------------
 * node/routers: kept while sessions are down, for the data path needs no agent */

struct stale {
	struct target_part *target;
	struct address address[MAX_ROUTERS * 2];
	unsigned int count;
};

static bool is_configured(const struct target_part *target, const struct address *address)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (target->link[i].used &&
		    address_equal(&target->link[i].endpoint.address, address))
			return true;
	return false;
}

static bool name_configured(const struct target_part *target, const char *name)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (target->link[i].used && name[0] && !strcmp(target->link[i].name, name))
			return true;
	return false;
}

static int note_stale(void *context, const void *key, const void *value)
{
	const struct router *router = value;
	struct stale *stale = context;

	if (is_configured(stale->target, key) || name_configured(stale->target, router->name))
		return 0;
	if (stale->count < MAX_ROUTERS * 2)
		stale->address[stale->count++] = *(const struct address *)key;
	return 0;
}

/* Addresses of routers that the configuration lists no more. */
static void drop_stale_addresses(struct target_part *target)
{
	struct stale stale = {.target = target};
	char text[ADDRESS_TEXT];

	maps_walk(&target->agent->maps, MAP_ROUTERS, note_stale, &stale);
	for (unsigned int i = 0; i < stale.count; i++) {
		maps_delete(&target->agent->maps, MAP_ROUTERS, &stale.address[i]);
		log_info("router at %s is not configured any more: its packets are not accepted",
			 address_format(&stale.address[i], text));
	}
}

struct own {
	const char *name;
	const struct message_hello *hello;
	struct stale others;
};

static int note_other(void *context, const void *key, const void *value)
{
	const struct router *router = value;
	struct own *own = context;

	if (strcmp(router->name, own->name) || address_equal(key, &own->hello->address) ||
	    address_equal(key, &own->hello->address6) || is_configured(own->others.target, key))
		return 0;
	if (own->others.count < MAX_ROUTERS * 2)
		own->others.address[own->others.count++] = *(const struct address *)key;
	return 0;
}

static void put_address(struct target_part *target, const struct address *address, const char *name)
{
	struct router router = {0};
	char text[ADDRESS_TEXT];
	int err;

	if (address_is_zero(address))
		return;
	snprintf(router.name, sizeof(router.name), "%s", name);
	err = maps_put(&target->agent->maps, MAP_ROUTERS, address, &router);
	if (err)
		log_error("router %s: its address %s cannot be entered in node/routers: %s; its "
			  "packets are not accepted",
			  name, address_format(address, text), strerror(-err));
}

static void learn_addresses(struct router_link *link, const struct message_hello *hello)
{
	struct target_part *target = link->target;
	struct own own = {.name = hello->name, .hello = hello, .others = {.target = target}};

	put_address(target, &link->endpoint.address, hello->name);
	put_address(target, &hello->address, hello->name);
	put_address(target, &hello->address6, hello->name);
	maps_walk(&target->agent->maps, MAP_ROUTERS, note_other, &own);
	for (unsigned int i = 0; i < own.others.count; i++)
		maps_delete(&target->agent->maps, MAP_ROUTERS, &own.others.address[i]);
}

/* ------------------------------------------------------------------------------------------------
 * the session's callbacks */

static void schedule(struct router_link *link)
{
	struct timeval wait = {0};
	unsigned int ms = link->backoff_ms;
	uint16_t random = 0;

	/* Many targets lose a router at once: they shall not come back at once. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) == sizeof(random))
		ms += random % (ms / 2 + 1);
	link->backoff_ms *= 2;
	if (link->backoff_ms > BACKOFF_LAST_MS)
		link->backoff_ms = BACKOFF_LAST_MS;
	wait.tv_sec = ms / 1000;
	wait.tv_usec = ms % 1000 * 1000;
	event_add(link->retry, &wait);
}

static bool name_taken(const struct router_link *link, const char *name)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		const struct router_link *other = &link->target->link[i];

		if (other != link && other->up && strcmp(other->name, name) == 0)
			return true;
	}
	return false;
}

static void report(struct router_link *link, const char *what)
{
	struct json_object *details = json_object_new_object();

	json_object_object_add(details, "router", json_object_new_string(link->name));
	target_report(link->target, what, details);
}

static int on_hello(void *context, struct session *session, const struct message_hello *hello)
{
	struct router_link *link = context;
	struct target_part *target = link->target;
	char text[ADDRESS_TEXT];
	int err;

	(void)session;
	endpoint_format(&link->endpoint.address, link->endpoint.port, text);
	if (name_taken(link, hello->name)) {
		log_warning("router %s answers at %s too: target.routers lists it twice; remove "
			    "one of the two",
			    hello->name, text);
		return GOODBYE_DUPLICATE;
	}
	snprintf(link->name, sizeof(link->name), "%s", hello->name);
	learn_addresses(link, hello);
	err = target_mirror_session(target->mirror, index_of(link), hello, link->digest_key,
				    agent_now_ms());
	if (err) {
		log_error("router %s at %s: no session: %s", hello->name, text,
			  err == -EPROTO ? "its clock is further ahead than a clock can be"
					 : strerror(-err));
		return err == -EPROTO ? GOODBYE_MALFORMED : GOODBYE_FULL;
	}
	link->up = true;
	link->failure_logged = false;
	link->up_since_ms = agent_now_ms();
	target->list[index_of(link)].connected = true;
	log_info("router %s at %s: connected", hello->name, text);
	report(link, "router_up");
	return 0;
}

static int on_message(void *context, struct session *session, const struct message *message)
{
	struct router_link *link = context;
	unsigned int router = index_of(link);
	struct router_list *list = &link->target->list[router];
	const struct mirror_router *state;
	int err;

	(void)session;
	err = target_mirror_receive(link->target->mirror, router, message, agent_now_ms());
	state = target_mirror_router(link->target->mirror, router);
	if (state && list->active != (state->role == ROLE_ACTIVE)) {
		list->active = !list->active;
		/* Its word counts more, or less, than before. */
		if (list->heard)
			target_services_changed(link->target);
	}
	return err;
}

/* What waits for the kernel's events to be read to the end is asked for only when nothing else is
 * left to send. */
static bool on_more(void *context, struct session *session, struct message *message)
{
	struct router_link *link = context;
	struct target_part *target = link->target;

	(void)session;
	if (!link->up)
		return false;
	if (target_mirror_next(target->mirror, index_of(link), false, agent_now_ms(), message))
		return true;
	if (!target_events_complete(target))
		return false;
	return target_mirror_next(target->mirror, index_of(link), true, agent_now_ms(), message);
}

static void add_probes(const struct target_part *target, const struct address *router,
		       struct message_heartbeat *heartbeat)
{
	struct probe probe;

	if (address_is_zero(router) || maps_get(&target->agent->maps, MAP_PROBES, router, &probe))
		return;
	if (probe.small_sequence > heartbeat->probe_small)
		heartbeat->probe_small = probe.small_sequence;
	if (probe.full_sequence > heartbeat->probe_full)
		heartbeat->probe_full = probe.full_sequence;
}

static void on_heartbeat(void *context, struct session *session,
			 struct message_heartbeat *heartbeat)
{
	struct router_link *link = context;
	const struct mirror_router *state =
		target_mirror_router(link->target->mirror, index_of(link));

	(void)session;
	*heartbeat = (struct message_heartbeat){.clock = target_mirror_clock(link->target->mirror)};
	if (!state)
		return;
	add_probes(link->target, &state->address, heartbeat);
	add_probes(link->target, &state->address6, heartbeat);
}

static void lost(struct router_link *link)
{
	if (link->session)
		link->last_heard_ms = session_last_heard_ms(link->session);
	link->session = NULL;
	if (!link->up)
		return;
	link->up = false;
	link->target->list[index_of(link)].connected = false;
	target_mirror_session_lost(link->target->mirror, index_of(link), agent_now_ms());
	if (agent_now_ms() - link->up_since_ms >= STEADY_MS)
		link->backoff_ms = BACKOFF_FIRST_MS;
	report(link, "router_down");
}

static void on_closed(void *context, struct session *session, enum goodbye_reason reason,
		      const char *text)
{
	struct router_link *link = context;
	char name[ADDRESS_TEXT];

	(void)session;
	(void)reason;
	if (link->up || !link->failure_logged)
		log_warning("router %s: session %s: %s; trying again until it answers",
			    label(link, name), link->up ? "lost" : "not opened",
			    text && text[0] ? text : "without a word");
	link->failure_logged = true;
	lost(link);
	schedule(link);
}

static const struct session_ops operations = {
	.hello = on_hello,
	.message = on_message,
	.more = on_more,
	.heartbeat = on_heartbeat,
	.closed = on_closed,
};

/* ------------------------------------------------------------------------------------------------
 * links */

static void try(evutil_socket_t fd, short what, void *context)
{
	struct router_link *link = context;
	struct target_part *target = link->target;
	const struct config_target *config = &target->config->target;
	struct message_hello hello = {
		.version = WIRE_VERSION,
		.role = WIRE_TARGET,
		.node_id = target->agent->node_id,
		.clock = target_mirror_clock(target->mirror),
		.address = config->address,
	};

	(void)fd;
	(void)what;
	/* The sums of two sessions can not be told from one another's, nor foreseen by clients. */
	if (getrandom(link->digest_key, sizeof(link->digest_key), 0) != sizeof(link->digest_key)) {
		schedule(link);
		return;
	}
	memcpy(hello.digest_key, link->digest_key, sizeof(hello.digest_key));
	snprintf(hello.name, sizeof(hello.name), "%s", target->config->node);
	link->session = session_connect(target->agent, &link->endpoint.address, link->endpoint.port,
					&config->address, &hello, &operations, link);
	if (!link->session)
		schedule(link);
}

static int open_link(struct target_part *target, const struct config_endpoint *endpoint)
{
	struct router_link *link = NULL;
	struct router router;

	for (unsigned int i = 0; i < MAX_ROUTERS && !link; i++)
		if (!target->link[i].used)
			link = &target->link[i];
	if (!link)
		return -ENOSPC;
	*link = (struct router_link){.target = target,
				     .used = true,
				     .endpoint = *endpoint,
				     .backoff_ms = BACKOFF_FIRST_MS};
	link->retry = event_new(target->agent->base, -1, 0, try, link);
	if (!link->retry) {
		link->used = false;
		return -ENOMEM;
	}
	/* Who it was before this agent started. */
	if (maps_get(&target->agent->maps, MAP_ROUTERS, &endpoint->address, &router) == 0)
		memcpy(link->name, router.name, sizeof(link->name));
	else
		put_address(target, &endpoint->address, "");
	target->list[index_of(link)].configured = true;
	event_active(link->retry, EV_TIMEOUT, 0);
	return 0;
}

static void close_link(struct router_link *link, enum goodbye_reason reason, const char *text)
{
	struct router_list *list = &link->target->list[index_of(link)];
	struct session *session = link->session;

	event_free(link->retry);
	lost(link);
	if (session)
		session_leave(session, reason, text);
	free(list->service);
	memset(list, 0, sizeof(*list));
	memset(link, 0, sizeof(*link));
}

static bool same_endpoint(const struct config_endpoint *a, const struct config_endpoint *b)
{
	return a->port == b->port && address_equal(&a->address, &b->address);
}

static bool wanted(const struct config_target *config, const struct config_endpoint *endpoint)
{
	for (unsigned int i = 0; i < config->router_count; i++)
		if (same_endpoint(&config->routers[i], endpoint))
			return true;
	return false;
}

static bool is_linked(const struct target_part *target, const struct config_endpoint *endpoint)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (target->link[i].used && same_endpoint(&target->link[i].endpoint, endpoint))
			return true;
	return false;
}

int target_links_configure(struct target_part *target)
{
	const struct config_target *config = &target->config->target;
	int err = 0;

	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (target->link[i].used && !wanted(config, &target->link[i].endpoint))
			close_link(&target->link[i], GOODBYE_LEAVING,
				   "the target's configuration lists this router no more");
	for (unsigned int i = 0; i < config->router_count && !err; i++)
		if (!is_linked(target, &config->routers[i]))
			err = open_link(target, &config->routers[i]);
	drop_stale_addresses(target);
	if (err)
		log_error("a router of target.routers cannot be connected to: %s; at most %d can "
			  "be listed",
			  strerror(-err), MAX_ROUTERS);
	return err;
}

void target_links_stop(struct target_part *target)
{
	bool leaving = target->agent->leaving;

	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (target->link[i].used)
			close_link(&target->link[i], leaving ? GOODBYE_LEAVING : GOODBYE_STOPPING,
				   leaving ? "the target unloads" : "the agent stops");
}

void target_link_wake(struct target_part *target, unsigned int router)
{
	struct router_link *link = &target->link[router];

	if (router < MAX_ROUTERS && link->up && link->session)
		session_wake(link->session);
}
