/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * info.c - `make info`: what the programs and the maps cost. Loads the objects as `limpet load`
 * does, with the table sizes of a configuration file, but pins and attaches nothing.
 *
 * Programs: instructions that the verifier has gone through and those that run, bytes of machine
 * code, stack bytes by function ("main+call+call"). Maps: bytes that the kernel says an entry and
 * the whole map take; of a table that grows, when it is full.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <json-c/json.h>

#include "../loader/objects.h"

#define LOG_SIZE  (1 << 20)
#define LOG_STATS 4 /* the verifier's numbers, without its trace */
#define PROBES	  4096

static struct maps maps; /* those of the objects loaded so far */

/* ------------------------------------------------------------------------------------------------
 * programs */

/* What follows the word, up to a space; empty: it is not there. */
static void find_word(const char *log, const char *word, char *text, size_t size)
{
	const char *found = strstr(log, word);

	text[0] = '\0';
	if (found) {
		found += strlen(word);
		snprintf(text, size, "%.*s", (int)strcspn(found, " \n"), found);
	}
}

static void add_program(struct json_object *programs, const struct bpf_program *program,
			const char *log)
{
	struct json_object *to = json_object_new_object();
	const char *name = bpf_program__name(program);
	struct bpf_prog_info info = {0};
	__u32 length = sizeof(info);
	char stack[128], verified[32];

	bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length);
	find_word(log, "stack depth ", stack, sizeof(stack));
	find_word(log, "processed ", verified, sizeof(verified));
	printf("%-18s %12s %12u %10u  %s\n", name, verified, info.xlated_prog_len / 8,
	       info.jited_prog_len, stack);
	json_object_object_add(to, "verified", json_object_new_int64(atoll(verified)));
	json_object_object_add(to, "instructions", json_object_new_int64(info.xlated_prog_len / 8));
	json_object_object_add(to, "jited_bytes", json_object_new_int64(info.jited_prog_len));
	json_object_object_add(to, "stack", json_object_new_string(stack));
	json_object_object_add(programs, name, to);
}

/* ------------------------------------------------------------------------------------------------
 * loading */

/* Which of the layout's maps is this? As in loader/objects.c; -1: of the object alone. */
static int identify(const char *name, bool is_xdp)
{
	for (int id = 0; id < MAPS; id++) {
		const struct map_description *map = map_description(id);

		if (!strcmp(map->name, name) && (!strcmp(map->directory, "node") ||
						 is_xdp == !strcmp(map->directory, "router")))
			return id;
	}
	return -1;
}

static int prepare_maps(struct bpf_object *object, bool is_xdp, const struct config *config)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		int id = identify(bpf_map__name(map), is_xdp), error = 0;
		__u32 size;

		if (id < 0)
			continue;
		size = objects_map_size(config, id);
		if (maps.fd[id] >= 0)
			error = bpf_map__reuse_fd(map, maps.fd[id]);
		else if (size)
			error = bpf_map__set_max_entries(map, size);
		if (error)
			return error;
	}
	return 0;
}

static int load(struct bpf_object *object, bool is_xdp, const struct config *config,
		struct json_object *programs)
{
	static char logs[8][LOG_SIZE];
	struct bpf_program *program;
	struct bpf_map *map;
	int error = prepare_maps(object, is_xdp, config), i = 0;

	bpf_object__for_each_program (program, object) {
		if (i == 8)
			return -E2BIG;
		bpf_program__set_log_level(program, LOG_STATS);
		bpf_program__set_log_buf(program, logs[i++], LOG_SIZE);
	}
	if (!error)
		error = bpf_object__load(object);
	if (error)
		return error;
	i = 0;
	bpf_object__for_each_program (program, object)
		add_program(programs, program, logs[i++]);
	bpf_object__for_each_map (map, object) {
		int id = identify(bpf_map__name(map), is_xdp);

		if (id >= 0 && maps.fd[id] < 0)
			maps.fd[id] = bpf_map__fd(map);
	}
	return 0;
}

/* The objects stay open: their maps are shared with those that follow. */
static int load_file(const char *path, const struct config *config, struct json_object *programs)
{
	const char *name = strrchr(path, '/');
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	int error = libbpf_get_error(object);

	if (!error)
		error = load(object, !strcmp(name ? name + 1 : path, "xdp.bpf.o"), config,
			     programs);
	if (error)
		fprintf(stderr, "info: %s: %s\n", path, strerror(-error));
	return error;
}

/* ------------------------------------------------------------------------------------------------
 * maps */

/* What the kernel says that the map takes. */
static uint64_t map_bytes(int fd)
{
	char path[64], line[256];
	uint64_t bytes = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
			break;
	if (file)
		fclose(file);
	return bytes;
}

/* Bytes of an entry of a table that grows: some are made and removed. */
static double grown_entry(int fd, const struct bpf_map_info *info)
{
	uint64_t before = map_bytes(fd), after;
	__u32 entries = info->max_entries < PROBES ? info->max_entries : PROBES;
	char *key = calloc(1, info->key_size), *value = calloc(1, info->value_size);
	__u32 i;

	if (!key || !value)
		entries = 0;
	for (i = 0; i < entries; i++) {
		memcpy(key, &i, sizeof(i));
		if (bpf_map_update_elem(fd, key, value, BPF_ANY))
			break;
	}
	after = map_bytes(fd);
	entries = i;
	for (i = 0; i < entries; i++) {
		memcpy(key, &i, sizeof(i));
		bpf_map_delete_elem(fd, key);
	}
	free(key);
	free(value);
	return entries ? (double)(after - before) / entries : 0;
}

static void add_map(struct json_object *to_maps, enum map_id id, const struct config *config)
{
	const struct map_description *description = map_description(id);
	struct json_object *to = json_object_new_object();
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	char name[64];
	double entry, bytes;

	if (bpf_obj_get_info_by_fd(maps.fd[id], &info, &length))
		return;
	bytes = (double)map_bytes(maps.fd[id]);
	if (info.map_flags & BPF_F_NO_PREALLOC) {
		entry = grown_entry(maps.fd[id], &info);
		bytes += entry * info.max_entries;
	} else {
		entry = bytes / info.max_entries;
	}
	snprintf(name, sizeof(name), "%s/%s", description->directory, description->name);
	printf("%-24s %5u %5u %10u %8.0f %12.1f  %s\n", name, info.key_size, info.value_size,
	       info.max_entries, entry, bytes / 1024, objects_map_size(config, id) ? "tables" : "");
	json_object_object_add(to, "entries", json_object_new_int64(info.max_entries));
	json_object_object_add(to, "entry_bytes", json_object_new_int64((int64_t)entry));
	json_object_object_add(to, "bytes", json_object_new_int64((int64_t)bytes));
	json_object_object_add(to_maps, name, to);
}

static void add_maps(struct json_object *report, const struct config *config)
{
	struct json_object *to = json_object_new_object();

	printf("\n%-24s %5s %5s %10s %8s %12s\n", "map", "key", "value", "entries", "bytes each",
	       "KiB, full");
	for (int id = 0; id < MAPS; id++)
		if (maps.fd[id] >= 0)
			add_map(to, id, config);
	printf("%-24s %5s %5s %10s %8s %12.1f  each service that has targets\n", "a ring", "", "",
	       "", "", RING_ELEMENTS * sizeof(struct ring_element) / 1024.0);
	json_object_object_add(report, "maps", to);
}

/* ------------------------------------------------------------------------------------------------
 * main */

static int print_warnings(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static int run(const struct config *config, char **objects, const char *json)
{
	struct json_object *report = json_object_new_object();
	struct json_object *programs = json_object_new_object();
	int error = 0;

	json_object_object_add(report, "programs", programs);
	printf("%-18s %12s %12s %10s  %s\n", "program", "verified", "instructions", "code bytes",
	       "stack bytes");
	for (; *objects && !error; objects++)
		error = load_file(*objects, config, programs);
	if (!error)
		add_maps(report, config);
	if (!error && json &&
	    json_object_to_file_ext(json, report,
				    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED)) {
		fprintf(stderr, "info: %s: %s\n", json, strerror(errno));
		error = -EIO;
	}
	json_object_put(report);
	return error;
}

int main(int argc, char **argv)
{
	char error[CONFIG_ERROR];
	struct config *config;
	const char *json = NULL;
	int option;

	while ((option = getopt(argc, argv, "j:")) != -1) {
		if (option != 'j')
			return 2;
		json = optarg;
	}
	if (argc - optind < 2) {
		fprintf(stderr, "usage: info [-j FILE] CONFIGURATION OBJECT...\n");
		return 2;
	}
	libbpf_set_print(print_warnings);
	for (int id = 0; id < MAPS; id++)
		maps.fd[id] = -1;
	if (config_load(argv[optind], &config, error)) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	return run(config, argv + optind + 1, json) ? 1 : 0;
}
