/* SPDX-License-Identifier: BSD-2-Clause */
/* operate.c - commands that the agent carries out: forget, affinity release, drain, resume,
 * monitor. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "commands.h"
#include "control.h"
#include "log.h"

#define POLL_MS 200

/* POST; 0, or 1 with the agent's own words on standard error. */
static int post(const struct config *config, const char *path)
{
	struct json_object *answer = NULL, *error = NULL;
	char *body = NULL;
	int status = control_request(config, "POST", path, &body);

	if (status < 0) {
		log_error("limpetd does not answer on %s/control.sock: %s",
			  config->runtime_directory, strerror(-status));
		return 1;
	}
	if (status != 200) {
		answer = json_tokener_parse(body);
		json_object_object_get_ex(answer, "error", &error);
		log_error("%s", error ? json_object_get_string(error) : "limpetd has refused");
		json_object_put(answer);
	}
	free(body);
	return status != 200;
}

/* A name that goes into a path as it is. */
static bool is_name(const char *text)
{
	return *text && strlen(text) < NAME_SIZE &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == strlen(text);
}

int command_forget(const struct config *config, int argc, char **argv)
{
	char path[128];

	if (argc != 2) {
		fputs("limpet: usage: limpet forget TARGET\n", stderr);
		return 2;
	}
	if (!is_name(argv[1])) {
		log_error("'%s' is no target's name", argv[1]);
		return 2;
	}
	snprintf(path, sizeof(path), "/forget?target=%s", argv[1]);
	return post(config, path);
}

int command_affinity(const struct config *config, int argc, char **argv)
{
	struct address client;
	char path[256];

	if (argc != 4 || strcmp(argv[1], "release")) {
		fputs("limpet: usage: limpet affinity release CLIENT SERVICE\n", stderr);
		return 2;
	}
	if (address_parse(argv[2], &client)) {
		log_error("'%s' is not an IPv4 or IPv6 address", argv[2]);
		return 2;
	}
	if (!is_name(argv[3])) {
		log_error("'%s' is no service's name", argv[3]);
		return 2;
	}
	snprintf(path, sizeof(path), "/affinity/release?client=%s&service=%s", argv[2], argv[3]);
	return post(config, path);
}

/* ------------------------------------------------------------------------------------------ drain
 */

struct drain {
	uint64_t instance; /* 0: the whole target */
	bool wait, end_affinities;
	uint64_t timeout_ms; /* 0: none */
};

/* "90s", "5m", "500ms"; 0: not a time. */
static uint64_t parse_time(const char *text)
{
	char *unit;
	uint64_t value = strtoull(text, &unit, 10);

	if (!strcmp(unit, "ms"))
		return value;
	if (!strcmp(unit, "s"))
		return value * 1000;
	if (!strcmp(unit, "m"))
		return value * 60 * 1000;
	return !strcmp(unit, "h") ? value * 3600 * 1000 : 0;
}

static int parse_drain(int argc, char **argv, bool resume, struct drain *drain)
{
	static const struct option options[] = {
		{"wait", no_argument, NULL, 'w'},
		{"end-affinities", no_argument, NULL, 'e'},
		{"timeout", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	char *end = NULL;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (resume || option == '?')
			return -EINVAL;
		drain->wait |= option == 'w';
		drain->end_affinities |= option == 'e';
		if (option != 't')
			continue;
		drain->timeout_ms = parse_time(optarg);
		if (!drain->timeout_ms) {
			log_error("--timeout %s: not a time; write 500ms, 30s, 5m or 1h", optarg);
			return -EINVAL;
		}
	}
	if (optind == argc)
		return 0;
	if (optind + 2 != argc || strcmp(argv[optind], "instance"))
		return -EINVAL;
	drain->instance = strtoull(argv[optind + 1], &end, 10);
	return drain->instance && !*end ? 0 : -EINVAL;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int64_t member(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, name, &value);
	return json_object_get_int64(value);
}

/* Sums over the instances that are drained: 0, or -errno. */
static int what_is_left(const struct config *config, const struct drain *drain,
			int64_t *connections, int64_t *affinities)
{
	struct json_object *rows = NULL;
	char *body = NULL;
	int status = control_request(config, "GET", "/instances", &body);

	if (status == 200)
		rows = json_tokener_parse(body);
	free(body);
	if (!rows)
		return status < 0 ? status : -EPROTO;
	*connections = *affinities = 0;
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (drain->instance && (uint64_t)member(row, "id") != drain->instance)
			continue;
		*connections += member(row, "connections");
		*affinities += member(row, "affinities");
	}
	json_object_put(rows);
	return 0;
}

static int wait_until_empty(const struct config *config, const struct drain *drain)
{
	uint64_t start = now_ms();
	int64_t connections, affinities, told = -1;

	for (;;) {
		int result = what_is_left(config, drain, &connections, &affinities);

		if (result) {
			log_error("limpetd does not answer any more: %s", strerror(-result));
			return 1;
		}
		if (told != connections + affinities)
			printf("waiting for %" PRId64 " connections, %" PRId64 " affinities\n",
			       connections, affinities);
		fflush(stdout);
		told = connections + affinities;
		if (!told)
			return 0;
		if (drain->timeout_ms && now_ms() - start >= drain->timeout_ms) {
			log_error("drain: %" PRId64 " connections and %" PRId64
				  " affinities are left after the timeout; the drain goes on",
				  connections, affinities);
			return 1;
		}
		usleep(POLL_MS * 1000);
	}
}

static void instance_path(char *path, size_t size, const char *command, uint64_t instance)
{
	if (instance)
		snprintf(path, size, "%s?instance=%" PRIu64, command, instance);
	else
		snprintf(path, size, "%s?", command);
}

int command_drain(const struct config *config, int argc, char **argv)
{
	struct drain drain = {};
	char path[128];

	if (parse_drain(argc, argv, false, &drain)) {
		fputs("limpet: usage: limpet drain [instance ID] [--wait] [--timeout T] "
		      "[--end-affinities]\n",
		      stderr);
		return 2;
	}
	instance_path(path, sizeof(path), "/drain", drain.instance);
	if (drain.end_affinities)
		strcat(path, drain.instance ? "&end_affinities=1" : "end_affinities=1");
	if (post(config, path))
		return 1;
	return drain.wait ? wait_until_empty(config, &drain) : 0;
}

int command_resume(const struct config *config, int argc, char **argv)
{
	struct drain drain = {};
	char path[128];

	if (parse_drain(argc, argv, true, &drain)) {
		fputs("limpet: usage: limpet resume [instance ID]\n", stderr);
		return 2;
	}
	instance_path(path, sizeof(path), "/resume", drain.instance);
	return post(config, path);
}

/* ------------------------------------------------------------------------------------------
 * monitor */

static int print_line(void *context, const char *line)
{
	(void)context;
	return puts(line) < 0 || fflush(stdout);
}

int command_monitor(const struct config *config, int argc, char **argv)
{
	int result;

	(void)argv;
	if (argc != 1) {
		fputs("limpet: usage: limpet monitor\n", stderr);
		return 2;
	}
	result = control_stream(config, "/monitor", print_line, NULL);
	if (result >= 0)
		return 0;
	log_error("limpetd does not answer on %s/control.sock: %s", config->runtime_directory,
		  strerror(-result));
	return 1;
}
