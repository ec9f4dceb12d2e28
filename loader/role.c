/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * role.c - `limpet activate` and `limpet deactivate`, for keepalived. The role is a pinned map's:
 * it needs no agent, takes no lock, and waits for nobody longer than a second.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bpffs.h"
#include "commands.h"
#include "control.h"
#include "log.h"
#include "maps.h"

#define TELL_MS 1000

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static const char *role_name(__u32 role)
{
	return role == ROLE_ACTIVE ? "active" : "standby";
}

/* Write it unless it is so already: 1 changed, 0 not, or -errno. */
static int change(const struct maps *maps, enum role wanted, struct router_role *role)
{
	__u32 zero = 0;
	int error = maps_get(maps, MAP_ROLE, &zero, role);

	if (error || role->role == wanted)
		return error;
	role->role = wanted;
	role->since_ns = now_ns();
	if (wanted == ROLE_ACTIVE)
		role->epoch++;
	error = maps_put(maps, MAP_ROLE, &zero, role);
	return error ? error : 1;
}

/* The agent sees it in the map as well, a little later. */
static void tell_agent(const struct config *config)
{
	int status = control_agent_runs(config)
			     ? control_request_within(config, "POST", "/role", TELL_MS, NULL)
			     : -ENOENT;

	if (status != 200)
		log_warning(
			"limpetd has not been told (%s): packets are forwarded; targets hear of "
			"it when it runs again",
			status == -ENOENT ? "it is not running"
			: status < 0	  ? strerror(-status)
					  : "it has refused");
}

static int set_role(const struct config *config, int argc, char **argv, enum role wanted)
{
	struct router_role role;
	struct maps maps;
	int result;

	if (argc > 1) {
		log_error("unknown argument '%s'; usage: limpet %s", argv[1], argv[0]);
		return 2;
	}
	result = maps_open(&maps, config->pin_path);
	if (result) {
		bpffs_unusable(config, result, "");
		return 1;
	}
	if (maps.fd[MAP_ROLE] < 0) {
		log_error("%s is no router: it has no role to change", config->node);
		maps_close(&maps);
		return 1;
	}
	result = change(&maps, wanted, &role);
	maps_close(&maps);
	if (result < 0) {
		log_error("the role cannot be changed: %s", strerror(-result));
		return 1;
	}
	printf("%s: %s%s, epoch %u\n", config->node, result ? "" : "already ", role_name(wanted),
	       role.epoch);
	fflush(stdout);
	if (result)
		tell_agent(config);
	return 0;
}

int command_activate(const struct config *config, int argc, char **argv)
{
	return set_role(config, argc, argv, ROLE_ACTIVE);
}

int command_deactivate(const struct config *config, int argc, char **argv)
{
	return set_role(config, argc, argv, ROLE_STANDBY);
}
