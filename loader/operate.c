/* SPDX-License-Identifier: BSD-2-Clause */
/* operate.c - commands that the agent carries out: forget, affinity release, monitor. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "commands.h"
#include "control.h"
#include "log.h"
#include "operate.h"

int operate_post(const struct config *config, const char *path)
{
	struct json_object *answer = NULL, *error = NULL;
	char *body = NULL;
	int status = control_request(config, "POST", path, &body);

	if (status < 0) {
		control_unavailable(config, status, "");
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
	return operate_post(config, path);
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
	return operate_post(config, path);
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
	control_unavailable(config, result, "");
	return 1;
}
