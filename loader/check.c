/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.c - `limpet check`: the configuration, and this machine against it. What is wrong is an
 * error; what may be meant that way, but has surprised others, is a note.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "bpffs.h"
#include "commands.h"
#include "control.h"
#include "holders.h"
#include "interfaces.h"
#include "log.h"
#include "memory.h"

#define AGENT_TIMEOUT_MS 1000

/* A number below /proc/sys; -1: not there. */
static int read_sysctl(const char *name)
{
	char path[256];
	int value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

/* The kernel takes the larger of the interface's and of `all`. 1 is strict, 2 loose. */
static int rp_filter(const char *interface)
{
	char name[128];
	int own, all = read_sysctl("net/ipv4/conf/all/rp_filter");

	snprintf(name, sizeof(name), "net/ipv4/conf/%s/rp_filter", interface);
	own = read_sysctl(name);
	return own > all ? own : all;
}

static void note_target(const struct config_target *target)
{
	for (unsigned int i = 0; i < target->interface_count; i++)
		if (rp_filter(target->interfaces[i]) == 1)
			log_warning("%s: rp_filter is strict: what a router forwards is dropped "
				    "without a word if the answer to its client leaves by another "
				    "interface; sysctl net.ipv4.conf.%s.rp_filter=2 lets it pass",
				    target->interfaces[i], target->interfaces[i]);
	if (read_sysctl("net/mptcp/enabled") == 1)
		log_warning("net.mptcp.enabled is 1: programs that listen with MPTCP (those "
			    "written in Go do) cannot be steered; sysctl net.mptcp.enabled=0 "
			    "before they start, or GODEBUG=multipathtcp=0");
	if (read_sysctl("kernel/yama/ptrace_scope") == 3)
		log_warning("kernel.yama.ptrace_scope is 3: limpetd cannot reach the listeners of "
			    "other processes; with 2 it can (after a restart of the machine)");
}

static const char *member(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, name, &value);
	return value ? json_object_get_string(value) : "";
}

static int64_t number(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, name, &value);
	return json_object_get_int64(value);
}

/* As many listeners as the process of this instance has. */
static unsigned int listeners_of(struct json_object *rows, int64_t pid)
{
	unsigned int count = 0;

	for (size_t i = 0; i < json_object_array_length(rows); i++)
		count += number(json_object_array_get_idx(rows, i), "listener_pid") == pid;
	return count;
}

/*
 * Holding a listener is not accepting on it, and the kernel does not tell who accepts before two
 * have asked: a master that gives a listener to each of its workers, all of which hold all, is as
 * it should be. More holders than that are worth a word.
 */
static void note_holders(struct json_object *rows)
{
	size_t count = json_object_array_length(rows);
	struct holding *holdings = calloc(count ? count : 1, sizeof(*holdings));

	if (!holdings)
		return;
	for (size_t i = 0; i < count; i++)
		holdings[i].inode =
			(unsigned long)number(json_object_array_get_idx(rows, i), "socket");
	holders_count(holdings, count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		unsigned int listeners = listeners_of(rows, number(row, "listener_pid"));

		if (*member(row, "remedy") || holdings[i].processes <= listeners + 1)
			continue;
		log_warning("service %s: %u processes hold the listener of %s (pid %s): if more "
			    "than one of them accepts on it, no client can be steered to one of "
			    "them, and their requests are refused; let each worker open its own "
			    "with SO_REUSEPORT",
			    member(row, "service"), holdings[i].processes, member(row, "command"),
			    member(row, "listener_pid"));
	}
	free(holdings);
}

/* Who listens on a service's address and port, and cannot be adopted or steered to. */
static void note_listeners(const struct config *config)
{
	struct json_object *rows = NULL;
	char *body = NULL;

	if (control_request_within(config, "GET", "/instances", AGENT_TIMEOUT_MS, &body) == 200)
		rows = json_tokener_parse(body);
	free(body);
	if (!json_object_is_type(rows, json_type_array)) {
		json_object_put(rows);
		log_info(
			"limpetd does not run here: which listeners can be adopted is not checked");
		return;
	}
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (*member(row, "remedy"))
			log_warning("service %s: %s (pid %s) is %s: %s", member(row, "service"),
				    member(row, "command"), member(row, "pid"),
				    member(row, "state"), member(row, "remedy"));
	}
	note_holders(rows);
	json_object_put(rows);
}

/* A note, since `limpet load`, which helps, may come next. */
static void note_interfaces(const struct config *config)
{
	const char *interface = NULL;

	if (bpffs_exists(config, LAYOUT_DIRECTORY))
		interface = interface_without_xdp(config);
	if (interface)
		log_warning(INTERFACE_WITHOUT_XDP, interface);
}

int command_check(const struct config *config, int argc, char **argv)
{
	char text[CONFIG_ERROR];

	if (argc > 1) {
		log_error("unknown argument '%s'; usage: limpet check [FILE]", argv[1]);
		return 2;
	}
	if (config_check_machine(config, text) || memory_check(config, text)) {
		log_error("%s", text);
		return 1;
	}
	if (config_check_addresses(config, text))
		log_warning("%s", text);
	note_interfaces(config);
	if (config->has_target) {
		note_target(&config->target);
		note_listeners(config);
	}
	printf("%s: ok\n", config->path);
	return 0;
}
