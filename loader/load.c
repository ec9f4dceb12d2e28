/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load.c - `limpet load`. The first time everything is made in a directory of its own, which is
 * renamed into its place as the last step: a load that fails leaves nothing. On a node that is
 * loaded the maps stay, the programs are replaced under traffic, and the configuration is applied
 * as by `limpet reload`.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "apply.h"
#include "bpffs.h"
#include "commands.h"
#include "links.h"
#include "log.h"
#include "memory.h"
#include "objects.h"
#include "undo.h"

/* Where maps and programs are pinned. */
struct place {
	const struct config *config;
	const char *directory;
};

static int pin_maps(const struct place *place, const struct objects *objects,
		    const struct maps *present)
{
	for (int id = 0; id < MAPS; id++) {
		const struct map_description *description = map_description(id);
		int error;

		if (!objects_pins_map(place->config, id) || (present && present->fd[id] >= 0))
			continue;
		error = bpffs_pin(place->config, place->directory, description->directory,
				  description->name, objects->maps.fd[id]);
		if (error)
			return error;
	}
	return 0;
}

static int pin_program(void *context, struct bpf_program *program)
{
	const struct place *place = context;

	return bpffs_pin(place->config, place->directory, "programs", bpf_program__name(program),
			 bpf_program__fd(program));
}

/* A router begins as a standby. */
static int write_role(const struct objects *objects)
{
	struct router_role standby = {.role = ROLE_STANDBY};
	struct timespec now;
	__u32 zero = 0;
	int error;

	clock_gettime(CLOCK_MONOTONIC, &now);
	standby.since_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	error = maps_put(&objects->maps, MAP_ROLE, &zero, &standby);
	if (error)
		log_error("the role cannot be written: %s", strerror(-error));
	return error;
}

static void say_loaded(const struct config *config, const char *how)
{
	log_info("%s: %s: %s%s%s, %u service%s", config->node, how,
		 config->has_router ? "router" : "",
		 config->has_router && config->has_target ? " and " : "",
		 config->has_target ? "target" : "", config->router.service_count,
		 config->router.service_count == 1 ? "" : "s");
}

/* ------------------------------------------------------------------------------------------
 * the first time */

static int fill(const struct place *place, const struct objects *objects)
{
	int error = bpffs_make(place->config, place->directory);

	if (!error)
		error = pin_maps(place, objects, NULL);
	if (!error)
		error = objects_each_program(objects, pin_program, (void *)place);
	if (!error && place->config->has_router)
		error = write_role(objects);
	if (!error)
		error = apply_all(place->config, &objects->maps, false);
	return error;
}

static int load_first(const struct config *config)
{
	const struct place place = {.config = config, .directory = BPFFS_NEW};
	struct objects objects;
	int error;

	if (bpffs_exists(config, BPFFS_NEW)) /* of a load that was killed */
		bpffs_remove(config, BPFFS_NEW);
	error = objects_load(&objects, config, NULL);
	if (error)
		return error;
	error = fill(&place, &objects);
	if (!error && config->has_target)
		error = undo_prepare(config);
	if (!error)
		error = links_apply(config, &objects, BPFFS_NEW);
	if (!error)
		error = bpffs_rename(config, BPFFS_NEW, LAYOUT_DIRECTORY);
	objects_free(&objects);
	if (!error) {
		say_loaded(config, "loaded");
		return 0;
	}
	if (bpffs_exists(config, BPFFS_NEW))
		bpffs_remove(config, BPFFS_NEW);
	undo_restore(config);
	return error;
}

/* ------------------------------------------------------------------------------------------
 * in place */

/* Pin the new program under the name of the old one, in one step. */
static int replace_pin(void *context, struct bpf_program *program)
{
	const struct config *config = context;
	const struct place place = {.config = config, .directory = BPFFS_NEW};
	char from[4096], to[4096];
	int error = pin_program((void *)&place, program);

	if (error)
		return error;
	bpffs_path(config, BPFFS_NEW, "programs", bpf_program__name(program), from);
	bpffs_path(config, LAYOUT_DIRECTORY, "programs", bpf_program__name(program), to);
	if (!rename(from, to))
		return 0;
	error = -errno;
	log_error("%s: cannot be renamed to %s: %s", from, to, strerror(-error));
	return error;
}

static int replace_programs(const struct config *config, const struct objects *objects)
{
	int error;

	if (bpffs_exists(config, BPFFS_NEW))
		bpffs_remove(config, BPFFS_NEW);
	error = bpffs_make(config, BPFFS_NEW);
	if (!error)
		error = objects_each_program(objects, replace_pin, (void *)config);
	if (!error)
		error = links_apply(config, objects, LAYOUT_DIRECTORY);
	bpffs_remove(config, BPFFS_NEW);
	return error;
}

static int upgrade(const struct config *config, const struct maps *present,
		   const struct objects *objects)
{
	const struct place place = {.config = config, .directory = LAYOUT_DIRECTORY};
	int error = pin_maps(&place, objects, present);

	if (!error && config->has_router && present->fd[MAP_ROLE] < 0)
		error = write_role(objects);
	if (!error && config->has_target)
		error = undo_prepare(config);
	if (!error)
		error = replace_programs(config, objects);
	if (!error)
		error = apply_all(config, &objects->maps, false);
	return error;
}

static int load_again(const struct config *config)
{
	struct objects objects;
	struct maps present;
	int error = apply_open(config, &present);

	if (error)
		return error;
	error = objects_load(&objects, config, &present);
	if (!error) {
		error = apply_check(config, &objects.maps, false);
		if (!error)
			error = links_check(config);
		if (!error)
			error = upgrade(config, &present, &objects);
		objects_free(&objects);
	}
	maps_close(&present);
	if (error)
		return error;
	say_loaded(config, "upgraded in place");
	return apply_tell_agent(config);
}

int command_load(const struct config *config, int argc, char **argv)
{
	char text[CONFIG_ERROR], other[NAME_SIZE];
	int lock, error;

	if (argc > 1) {
		log_error("unknown option '%s'; usage: limpet load", argv[1]);
		return 2;
	}
	if (config_check_machine(config, text) || memory_check(config, text)) {
		log_error("%s", text);
		return 1;
	}
	if (config_check_addresses(config, text))
		log_warning("%s", text);
	lock = bpffs_lock(config);
	if (lock < 0)
		return 1;
	if (bpffs_exists(config, LAYOUT_DIRECTORY)) {
		error = load_again(config);
	} else if (bpffs_other_layout(config, other)) {
		log_error("%s is loaded with layout %s, this program has %s: unload it with the "
			  "program that has loaded it",
			  config->pin_path, other, LAYOUT_DIRECTORY);
		error = -EBUSY;
	} else {
		error = load_first(config);
	}
	if (error)
		bpffs_remove_path(config); /* only if nothing is in it */
	close(lock);
	return error ? 1 : 0;
}
