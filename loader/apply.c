/* SPDX-License-Identifier: BSD-2-Clause */
#include "apply.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "control.h"
#include "log.h"
#include "services.h"
#include "settings.h"

int apply_open(const struct config *config, struct maps *maps)
{
	const char *surplus = NULL;
	int error = maps_open(maps, config->pin_path);

	if (error) {
		bpffs_unusable(config, error, "");
		return error;
	}
	if (!config->has_router && maps->fd[MAP_ROLE] >= 0)
		surplus = "router";
	if (!config->has_target && maps->fd[MAP_TARGET_SERVICES] >= 0)
		surplus = "target";
	if (!surplus)
		return 0;
	log_error("this node is loaded as a %s and the configuration says nothing of one; that "
		  "needs `limpet unload` (with the former configuration) and `limpet load`",
		  surplus);
	maps_close(maps);
	return -EBUSY;
}

static int check_settings(const struct config *config, const struct maps *maps)
{
	char text[CONFIG_ERROR];
	struct settings loaded;
	__u32 zero = 0;
	int error = maps_get(maps, MAP_SETTINGS, &zero, &loaded);

	if (error) {
		log_error("the settings cannot be read: %s", strerror(-error));
		return error;
	}
	error = settings_check(config, &loaded, text);
	if (error)
		log_error("%s; nothing is changed", text);
	return error;
}

/* The plan if it may be carried out. *error: why not. NULL without an error: no router. */
static struct services_plan *make_plan(const struct config *config, const struct maps *maps,
				       bool end_affinities, int *error)
{
	struct services_plan *plan;

	*error = check_settings(config, maps);
	if (*error || !config->has_router)
		return NULL;
	plan = services_plan(config, maps);
	if (!plan) {
		*error = -EINVAL;
		return NULL;
	}
	if (!plan->affinities)
		return plan;
	if (end_affinities) {
		log_info("service %s: scope, client_prefix or affinity change: %u affinities end "
			 "once the active router has this; reload the other routers alike",
			 plan->changes, plan->affinities);
		return plan;
	}
	log_error("service %s: a change of scope, client_prefix or affinity would end %u "
		  "affinities; nothing is changed; `limpet reload --end-affinities` does it",
		  plan->changes, plan->affinities);
	free(plan);
	*error = -EBUSY;
	return NULL;
}

/* One that runs with another runtime_directory would keep the former configuration. */
static int check_place(const struct config *config)
{
	if (control_agent_runs(config) || !bpffs_has_agent(config))
		return 0;
	log_error(
		"limpetd runs with another runtime_directory than %s, which needs `limpet unload`, "
		"with the former configuration, and `limpet load`; nothing is changed",
		config->runtime_directory);
	return -EBUSY;
}

int apply_check(const struct config *config, const struct maps *maps, bool end_affinities)
{
	int error = check_place(config);

	if (!error)
		free(make_plan(config, maps, end_affinities, &error));
	return error;
}

int apply_all(const struct config *config, const struct maps *maps, bool end_affinities)
{
	int error;
	struct services_plan *plan = make_plan(config, maps, end_affinities, &error);

	if (!error)
		error = settings_apply(config, maps);
	if (!error && plan)
		error = services_apply(plan, maps);
	if (!error && plan)
		log_debug("services: %u added, %u removed, %u changed", plan->added, plan->removed,
			  plan->changed);
	free(plan);
	return error;
}

/* What limpetd answers to this: 0, or -errno with a line that ends in `advice`. */
static int post(const struct config *config, const char *path, const char *advice)
{
	struct json_object *answer, *text = NULL;
	char *body = NULL;
	int status = control_request(config, "POST", path, &body);

	if (status == 200) {
		free(body);
		return 0;
	}
	if (status < 0) {
		log_error("limpetd does not answer on %s/control.sock: %s; %s",
			  config->runtime_directory, strerror(-status), advice);
		return status;
	}
	answer = json_tokener_parse(body);
	json_object_object_get_ex(answer, "error", &text);
	log_error("%s; %s",
		  text ? json_object_get_string(text) : "limpetd refuses: its log says why",
		  advice);
	json_object_put(answer);
	free(body);
	return -EINVAL;
}

int apply_ask_agent(const struct config *config)
{
	if (!control_agent_runs(config))
		return 0;
	return post(config, "/reload/check", "nothing is changed");
}

int apply_tell_agent(const struct config *config)
{
	if (control_agent_runs(config))
		return post(config, "/reload", "limpetd still has the former configuration");
	log_info("limpetd is not running; it reads the configuration when it starts");
	return 0;
}
