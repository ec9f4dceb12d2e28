/* SPDX-License-Identifier: BSD-2-Clause */
/* target_state.c - STATE/target.json: the last instance id given, so that none is given twice, and
 * what the operator has drained. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "instances.h"
#include "log.h"
#include "target_part.h"

#define STATE_FILE "target.json"
#define PATH_SIZE  4096

static void path_of(const struct target_part *target, const char *suffix, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/" STATE_FILE "%s", target->config->state_directory, suffix);
}

static void read_drained(struct instance_table *table, struct json_object *drained)
{
	for (size_t i = 0; i < json_object_array_length(drained); i++) {
		uint64_t id = json_object_get_int64(json_object_array_get_idx(drained, i));
		int slot = instances_find_id(table, id);

		if (slot >= 0)
			table->instance[slot].drained = true;
	}
}

static void read_state(struct target_part *target, struct instance_table *table,
		       struct json_object *state)
{
	struct json_object *member;

	if (json_object_object_get_ex(state, "last_instance", &member) &&
	    (uint64_t)json_object_get_int64(member) > table->last_id)
		table->last_id = json_object_get_int64(member);
	if (json_object_object_get_ex(state, "draining", &member))
		table->draining = json_object_get_boolean(member);
	if (json_object_object_get_ex(state, "end_affinities", &member))
		target->end_affinities = json_object_get_boolean(member);
	if (json_object_object_get_ex(state, "drained", &member) &&
	    json_object_is_type(member, json_type_array))
		read_drained(table, member);
}

int target_state_load(struct target_part *target, struct instance_table *table)
{
	struct json_object *state;
	char path[PATH_SIZE];

	path_of(target, "", path);
	if (access(path, F_OK))
		return 0; /* the first start */
	state = json_object_from_file(path);
	if (!json_object_is_type(state, json_type_object)) {
		log_error(
			"%s is not readable as JSON; remove it: instance ids then go on from what "
			"is pinned, and nothing is drained",
			path);
		json_object_put(state);
		return -EINVAL;
	}
	read_state(target, table, state);
	json_object_put(state);
	return 0;
}

static struct json_object *write_drained(const struct instance_table *table)
{
	struct json_object *drained = json_object_new_array();

	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (table->instance[i].drained)
			json_object_array_add(drained,
					      json_object_new_int64(table->instance[i].kernel.id));
	return drained;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t length = strlen(text);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != length || fsync(fd))
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

int target_state_save(struct target_part *target, const struct instance_table *table)
{
	struct json_object *state = json_object_new_object();
	char path[PATH_SIZE], new_path[PATH_SIZE];
	int err;

	json_object_object_add(state, "last_instance", json_object_new_int64(table->last_id));
	json_object_object_add(state, "draining", json_object_new_boolean(table->draining));
	json_object_object_add(state, "end_affinities",
			       json_object_new_boolean(target->end_affinities));
	json_object_object_add(state, "drained", write_drained(table));
	path_of(target, "", path);
	path_of(target, ".new", new_path);
	err = write_file(new_path, json_object_to_json_string(state));
	json_object_put(state);
	if (!err && rename(new_path, path))
		err = -errno;
	if (err)
		log_error("%s cannot be written: %s; a drain would not outlive a restart of "
			  "limpetd",
			  path, strerror(-err));
	return err;
}
