/* SPDX-License-Identifier: BSD-2-Clause */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "address.h"
#include "fill.h"
#include "traffic.h"

#define LEAST_ROOM 1000000 /* the default of tables.connections: nobody configures less */

struct stage {
	struct stage_options options;
	char config[256], pins[256], log[256];
	struct scene scene;
	struct maps maps;
	int program;
	bool loaded;
};

static uint32_t room(uint32_t entries)
{
	return entries > LEAST_ROOM ? entries : LEAST_ROOM;
}

static void write_router(const struct stage *stage, const struct scene *scene, FILE *file)
{
	fprintf(file,
		"router:\n  interfaces: [%s]\n  address: " BENCH_ROUTER
		"\n  address6: \"" BENCH_ROUTER6 "\"\n  services:\n",
		stage->options.interface);
	for (uint32_t i = 0; i < scene->services; i++) {
		struct service_key key = bench_service(scene->family, i);
		char text[ADDRESS_TEXT];

		fprintf(file, "    - { name: " BENCH_SERVICE ", address: \"%s\", port: %d }\n", i,
			address_format(&key.address, text), BENCH_PORT);
	}
}

static void write_target(const struct stage *stage, FILE *file)
{
	fprintf(file,
		"target:\n  interfaces: [%s]\n  address: " BENCH_TARGET
		"\n  routers: [ \"" BENCH_ROUTER ":7562\" ]\n"
		"  service_addresses: [ 198.18.0.0/16, \"2001:db8:ffff::/64\" ]\n  cgroup: %s\n",
		stage->options.interface, stage->options.cgroup);
}

static int write_config(const struct stage *stage, const struct scene *scene)
{
	const char *directory = stage->options.directory;
	FILE *file = fopen(stage->config, "we");

	if (!file) {
		fprintf(stderr, "bench: %s: %s\n", stage->config, strerror(errno));
		return -errno;
	}
	fprintf(file, "node: bench\n");
	if (scene->is_target)
		write_target(stage, file);
	else
		write_router(stage, scene, file);
	fprintf(file,
		"tls: { ca: ca.pem, certificate: bench.pem, key: bench.key }\n"
		"tables: { connections: %u, affinities: %u }\n"
		"pin_path: %s\nruntime_directory: %s/run\nstate_directory: %s/lib\n",
		room(scene->connections), room(scene->affinities), stage->pins, directory,
		directory);
	return fclose(file) ? -errno : 0;
}

static void show_log(const struct stage *stage)
{
	FILE *file = fopen(stage->log, "re");
	char line[1024];

	while (file && fgets(line, sizeof(line), file))
		fputs(line, stderr);
	if (file)
		fclose(file);
}

/* option: NULL if there is none. */
static int run_limpet(const struct stage *stage, const char *command, const char *option)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (!child) {
		int log = open(stage->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		if (log >= 0) {
			dup2(log, STDOUT_FILENO);
			dup2(log, STDERR_FILENO);
		}
		execl(stage->options.limpet, "limpet", command, "--config", stage->config, option,
		      (char *)NULL);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!status)
		return 0;
	fprintf(stderr, "bench: `limpet %s` has failed:\n", command);
	show_log(stage);
	return -EIO;
}

int stage_new(struct stage **stage, const struct stage_options *options)
{
	struct stage *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->options = *options;
	snprintf(new->config, sizeof(new->config), "%s/limpet.yaml", options->directory);
	snprintf(new->pins, sizeof(new->pins), "%s/bpf/limpet", options->directory);
	snprintf(new->log, sizeof(new->log), "%s/limpet.log", options->directory);
	*stage = new;
	return 0;
}

static void take_down(struct stage *stage)
{
	if (!stage->loaded)
		return;
	maps_close(&stage->maps);
	close(stage->program);
	run_limpet(stage, "unload", "--force");
	stage->loaded = false;
}

void stage_free(struct stage *stage)
{
	if (!stage)
		return;
	take_down(stage);
	free(stage);
}

static int open_pins(struct stage *stage)
{
	int error = maps_open(&stage->maps, stage->pins);

	if (error)
		return error;
	stage->program = maps_open_pin(stage->pins, "programs", "xdp_limpet");
	if (stage->program >= 0)
		return 0;
	maps_close(&stage->maps);
	return stage->program;
}

static int put_up(struct stage *stage, const struct scene *scene)
{
	int agent, error = write_config(stage, scene);

	if (!error)
		error = run_limpet(stage, "load", NULL);
	if (error)
		return error;
	error = open_pins(stage);
	if (error) {
		fprintf(stderr, "bench: the pins cannot be opened: %s\n", strerror(-error));
		run_limpet(stage, "unload", "--force");
		return error;
	}
	stage->loaded = true;
	stage->scene = *scene;
	if (scene->is_target)
		return fill_target(&stage->maps);
	error = run_limpet(stage, "activate", NULL);
	if (error)
		return error;
	agent = maps_open_pin(stage->pins, "programs", "router_agent");
	if (agent < 0)
		return agent;
	error = fill_router(&stage->maps, agent, scene, if_nametoindex(stage->options.interface));
	close(agent);
	return error;
}

int stage_set(struct stage *stage, const struct scene *scene)
{
	int error;

	if (stage->loaded && !memcmp(&stage->scene, scene, sizeof(*scene)))
		return 1;
	take_down(stage);
	error = put_up(stage, scene);
	if (error)
		take_down(stage);
	return error;
}

int stage_program(const struct stage *stage)
{
	return stage->program;
}

const struct maps *stage_maps(const struct stage *stage)
{
	return &stage->maps;
}
