/* SPDX-License-Identifier: BSD-2-Clause */
/* reload.c - limpetd takes a changed configuration over while it runs, or nothing of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "document.h"
#include "log.h"
#include "session.h"
#include "settings.h"

#define RESTART "a restart of limpetd (systemctl restart limpetd)"
#define ANEW	"`limpet unload`, with the former configuration, and `limpet load`"

/* A key that limpetd reads only when it starts. */
struct fixed {
	bool differs;
	const char *key, *needs;
};

static bool other_endpoint(const struct config_router *a, const struct config_router *b)
{
	return !address_equal(&a->listen, &b->listen) || a->listen_port != b->listen_port;
}

static bool other_tables(const struct config *a, const struct config *b)
{
	return a->max_connections != b->max_connections || a->max_affinities != b->max_affinities;
}

/* 0, or -EBUSY with one line in error: which of those differs, and what that needs. */
static int check_fixed(const struct config *a, const struct config *b, char error[CONFIG_ERROR])
{
	const struct fixed keys[] = {
		{strcmp(a->node, b->node), "node", ANEW},
		{strcmp(a->pin_path, b->pin_path), "pin_path", ANEW},
		{strcmp(a->runtime_directory, b->runtime_directory), "runtime_directory", ANEW},
		{strcmp(a->state_directory, b->state_directory), "state_directory", RESTART},
		{a->has_router != b->has_router, "router", "`limpet load`, and then " RESTART},
		{a->has_target != b->has_target, "target", "`limpet load`, and then " RESTART},
		{a->has_router && b->has_router && other_endpoint(&a->router, &b->router),
		 "router.listen", RESTART},
		{other_tables(a, b), "tables", ANEW},
	};
	struct document document;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (!keys[i].differs)
			continue;
		if (document_open(&document, b->path, error, CONFIG_ERROR))
			return -EBUSY;
		document_wrong(&document, document_line(&document, keys[i].key), error,
			       CONFIG_ERROR, "%s: has changed; that needs %s", keys[i].key,
			       keys[i].needs);
		document_close(&document);
		return -EBUSY;
	}
	return 0;
}

/* May it be taken over? */
static int check(const struct agent *agent, const struct config *config, char error[CONFIG_ERROR])
{
	struct settings loaded;
	int wrong = agent_read_settings(agent, &loaded);

	if (wrong) {
		snprintf(error, CONFIG_ERROR, "node/settings: cannot be read: %s",
			 strerror(-wrong));
		return wrong;
	}
	wrong = settings_check(config, &loaded, error);
	return wrong ? wrong : check_fixed(agent->config, config, error);
}

/* What the file says, if it may be taken over; and the certificates that it names. */
static int prepare(const struct agent *agent, struct config **config, struct tls_context **tls,
		   char error[CONFIG_ERROR])
{
	int wrong = config_load(agent->config->path, config, error);

	if (wrong)
		return wrong;
	wrong = check(agent, *config, error);
	*tls = wrong ? NULL : tls_context_new(*config);
	if (*tls)
		return 0;
	if (!wrong) {
		snprintf(error, CONFIG_ERROR, "tls: cannot be used, as the log of limpetd says");
		wrong = -EINVAL;
	}
	config_free(*config);
	return wrong;
}

int agent_reload_check(const struct agent *agent, char error[CONFIG_ERROR])
{
	struct tls_context *tls;
	struct config *config;
	int wrong = prepare(agent, &config, &tls, error);

	if (wrong)
		return wrong;
	tls_context_free(tls);
	config_free(config);
	return 0;
}

static int reload_parts(struct agent *agent, const struct config *config)
{
	int error = agent->router ? router_reload(agent->router, config) : 0;

	if (error || !agent->target)
		return error;
	error = target_reload(agent->target, config);
	if (error && agent->router)
		router_reload(agent->router, agent->config);
	return error;
}

int agent_reload(struct agent *agent, char error[CONFIG_ERROR])
{
	struct tls_context *tls;
	struct config *config;
	int wrong = prepare(agent, &config, &tls, error);

	if (!wrong) {
		wrong = reload_parts(agent, config);
		if (wrong) {
			snprintf(error, CONFIG_ERROR,
				 "%s: cannot be taken over: %s; the log of limpetd says more",
				 config->path, strerror(-wrong));
			tls_context_free(tls);
			config_free(config);
		}
	}
	if (wrong) {
		log_error("%s (the configuration in force stays)", error);
		return wrong;
	}
	tls_context_free(agent->tls); /* sessions that are open keep theirs */
	agent->tls = tls;
	config_free(agent->config);
	agent->config = config;
	log_info("configuration %s read again", config->path);
	return 0;
}
