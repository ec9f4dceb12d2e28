/* SPDX-License-Identifier: BSD-2-Clause */
/* drain.c - `limpet drain` and `limpet resume`: asked of the agent; what is left is watched here.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "control.h"
#include "crht.h"
#include "log.h"
#include "operate.h"

#define POLL_MS	     200
#define LONGEST_TIME (365ULL * 24 * 3600 * 1000) /* of any unit: so that no product overflows */

#define USAGE_DRAIN  "limpet drain [instance ID] [--wait] [--timeout T] [--end-affinities]"
#define USAGE_RESUME "limpet resume [instance ID]"

struct drain {
	uint64_t instance; /* 0: the whole target */
	bool wait, end_affinities;
	uint64_t timeout_ms; /* 0: none */
};

struct left {
	int64_t connections, affinities;
	int64_t expires_ms; /* the latest of those that expire while nobody is connected; -1: none
			     */
};

/* "90s", "5m", "500ms"; 0: not a time. */
static uint64_t parse_time(const char *text)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
	char *unit;
	uint64_t value;

	if (!isdigit((unsigned char)*text))
		return 0; /* strtoull takes a sign, and makes -5 a very long time */
	errno = 0;
	value = strtoull(text, &unit, 10);
	if (errno || value > LONGEST_TIME)
		return 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(unit, units[i].name))
			return value * units[i].ms;
	return 0;
}

/* What is not an option: nothing, or `instance ID`. */
static int parse_instance(int argc, char **argv, const char *usage, uint64_t *instance)
{
	char *end = NULL;

	if (argc == 0)
		return 0;
	if (argc != 2 || strcmp(argv[0], "instance")) {
		log_error("usage: %s", usage);
		return -EINVAL;
	}
	errno = 0;
	if (isdigit((unsigned char)*argv[1]))
		*instance = strtoull(argv[1], &end, 10);
	if (end && !*end && !errno && *instance)
		return 0;
	log_error("'%s' is no instance's id; `limpet show instances` lists them", argv[1]);
	return -EINVAL;
}

/* 0, or -EINVAL with one line on standard error. */
static int parse_drain(int argc, char **argv, struct drain *drain)
{
	static const struct option options[] = {
		{"wait", no_argument, NULL, 'w'},
		{"end-affinities", no_argument, NULL, 'e'},
		{"timeout", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	int option;

	optind = opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option == '?' || option == ':') {
			command_option_error(option, argv, USAGE_DRAIN);
			return -EINVAL;
		}
		drain->wait |= option == 'w' || option == 't'; /* a limit is one of waiting */
		drain->end_affinities |= option == 'e';
		if (option != 't')
			continue;
		drain->timeout_ms = parse_time(optarg);
		if (!drain->timeout_ms) {
			log_error("--timeout %s: not a time; write 500ms, 30s, 5m or 1h", optarg);
			return -EINVAL;
		}
	}
	return parse_instance(argc - optind, argv + optind, USAGE_DRAIN, &drain->instance);
}

static uint64_t now_ms(void)
{
	return crht_now_ns() / 1000000;
}

static int64_t member(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, name, &value);
	return json_object_get_int64(value);
}

/* The agent's list of instances: 0, or -errno. */
static int read_instances(const struct config *config, struct json_object **rows)
{
	char *body = NULL;
	int status = control_request(config, "GET", "/instances", &body);

	*rows = status == 200 ? json_tokener_parse(body) : NULL;
	free(body);
	if (json_object_is_type(*rows, json_type_array))
		return 0;
	json_object_put(*rows);
	return status < 0 ? status : -EPROTO;
}

/* Sums over the instances that are drained: 0, or -errno. */
static int what_is_left(const struct config *config, const struct drain *drain, struct left *left)
{
	struct json_object *rows;
	int error = read_instances(config, &rows);

	if (error)
		return error;
	*left = (struct left){.expires_ms = -1};
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (drain->instance && (uint64_t)member(row, "id") != drain->instance)
			continue;
		left->connections += member(row, "connections");
		left->affinities += member(row, "affinities");
	}
	json_object_put(rows);
	return 0;
}

static void print_left(const struct config *config, const struct drain *drain, struct left *left)
{
	struct node *node = left->affinities ? node_open(config) : NULL;

	if (node) {
		left->expires_ms = crht_latest_expiry_ms(node, drain->instance);
		node_close(node);
	}
	printf("waiting for %" PRId64 " connections, %" PRId64 " affinities", left->connections,
	       left->affinities);
	if (left->expires_ms >= 0)
		printf("; the latest of the idle ones expires in %" PRId64 ".%" PRId64 " s",
		       left->expires_ms / 1000, left->expires_ms % 1000 / 100);
	puts("");
	fflush(stdout);
}

static int wait_until_empty(const struct config *config, const struct drain *drain)
{
	int64_t told_connections = -1, told_affinities = -1;
	uint64_t start = now_ms();
	struct left left;

	for (;;) {
		int result = what_is_left(config, drain, &left);

		if (result) {
			log_error("limpetd does not answer any more: %s", strerror(-result));
			return 1;
		}
		if (told_connections != left.connections || told_affinities != left.affinities)
			print_left(config, drain, &left);
		told_connections = left.connections;
		told_affinities = left.affinities;
		if (!left.connections && !left.affinities)
			return 0;
		if (drain->timeout_ms && now_ms() - start >= drain->timeout_ms) {
			log_error("drain: %" PRId64 " connections and %" PRId64
				  " affinities are left after the timeout; the drain goes on",
				  left.connections, left.affinities);
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

	if (parse_drain(argc, argv, &drain))
		return 2;
	instance_path(path, sizeof(path), "/drain", drain.instance);
	if (drain.end_affinities)
		strcat(path, drain.instance ? "&end_affinities=1" : "end_affinities=1");
	if (operate_post(config, path))
		return 1;
	return drain.wait ? wait_until_empty(config, &drain) : 0;
}

static bool has_state(struct json_object *row, const char *wanted)
{
	struct json_object *state = NULL;

	json_object_object_get_ex(row, "state", &state);
	return state && !strcmp(json_object_get_string(state), wanted);
}

/* The target takes new clients again: those of its instances that still do not. */
static void print_drained(struct json_object *rows)
{
	unsigned int count = 0;

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!member(row, "drained") || has_state(row, "ended"))
			continue;
		printf("%s%" PRId64, count++ ? ", " : "still drained, each by itself: instance ",
		       member(row, "id"));
	}
	if (count)
		puts("; `limpet resume instance ID` resumes one");
}

/* What is drained by itself and with its target is resumed by both. */
static void print_still(struct json_object *rows, uint64_t instance)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if ((uint64_t)member(row, "id") == instance && has_state(row, "draining"))
			printf("instance %" PRIu64 " still drains with the whole target; `limpet "
			       "resume` resumes that\n",
			       instance);
	}
}

int command_resume(const struct config *config, int argc, char **argv)
{
	struct json_object *rows;
	uint64_t instance = 0;
	char path[128];

	if (parse_instance(argc - 1, argv + 1, USAGE_RESUME, &instance))
		return 2;
	instance_path(path, sizeof(path), "/resume", instance);
	if (operate_post(config, path))
		return 1;
	if (read_instances(config, &rows))
		return 0; /* resumed it is */
	if (instance)
		print_still(rows, instance);
	else
		print_drained(rows);
	json_object_put(rows);
	return 0;
}
