/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - `limpet`: which command, which configuration. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "log.h"

static const struct command {
	const char *name, *arguments, *help;
	int (*run)(const struct config *config, int argc, char **argv);
	bool takes_file; /* its argument is the configuration file */
} commands[] = {
	{"load", "",
	 "verify, load, pin and attach the programs; on a loaded node: upgrade in place",
	 command_load, false},
	{"unload", "[--force]", "detach and remove everything, and undo what load has changed",
	 command_unload, false},
	{"reload", "[--end-affinities]",
	 "apply a changed configuration; nothing at all if it is wrong", command_reload, false},
	{"check", "[FILE]", "check the configuration, and this machine against it", command_check,
	 true},
	{"status", "[--json]", "this node in a few lines", command_status, false},
	{"show",
	 "services|targets|instances|connections|affinities|routers|sync [--service S] "
	 "[--client ADDRESS] [--json]",
	 "tables", command_show, false},
	{"explain", "CLIENT[:PORT] SERVICE", "why this client goes where it goes", command_explain,
	 false},
	{"monitor", "", "events as they happen, one JSON object a line", command_monitor, false},
	{"affinity", "release CLIENT SERVICE", "end an affinity (at the target)", command_affinity,
	 false},
	{"drain", "[instance ID] [--wait] [--timeout T] [--end-affinities]",
	 "no new clients for this target or instance", command_drain, false},
	{"resume", "[instance ID]", "new clients again", command_resume, false},
	{"activate", "", "this router owns the services' addresses now (for keepalived)",
	 command_activate, false},
	{"deactivate", "", "another router owns them now (for keepalived)", command_deactivate,
	 false},
	{"ready", "", "0: this router could take over; 1: not, says who is missing; 2: cannot tell",
	 command_ready, false},
	{"forget", "TARGET", "a target that will not come back", command_forget, false},
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

/* The options of every command, taken out of argv wherever they stand. */
struct options {
	const char *file;
	bool help, version, verbose;
	bool file_missing; /* --config without a file */
};

static void usage(void)
{
	printf("usage: limpet COMMAND [--config FILE] [--verbose]\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  limpet %s%s%s\n      %s\n", commands[i].name,
		       commands[i].arguments[0] ? " " : "", commands[i].arguments,
		       commands[i].help);
	printf("\n  --config FILE  instead of " CONFIG_PATH "\n"
	       "  --verbose      libbpf's and the verifier's messages too\n"
	       "  --version\n");
}

static void command_usage(const struct command *command)
{
	printf("usage: limpet %s%s%s [--config FILE] [--verbose]\n  %s\n", command->name,
	       command->arguments[0] ? " " : "", command->arguments, command->help);
}

static int take_options(int argc, char **argv, struct options *options)
{
	int kept = 1;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--config")) {
			options->file_missing = ++i == argc;
			options->file = options->file_missing ? NULL : argv[i];
		} else if (!strncmp(argv[i], "--config=", 9)) {
			options->file = argv[i] + 9;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			options->help = true;
		} else if (!strcmp(argv[i], "--version")) {
			options->version = true;
		} else if (!strcmp(argv[i], "--verbose")) {
			options->verbose = true;
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	return kept;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run(const struct command *command, const char *file, int argc, char **argv)
{
	char error[CONFIG_ERROR];
	struct config *config;
	int status;

	if (config_load(file, &config, error)) {
		log_error("%s", error);
		return 1;
	}
	status = command->run(config, argc, argv);
	config_free(config);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {.file = CONFIG_PATH};
	const struct command *command;

	argc = take_options(argc, argv, &options);
	log_init("limpet", options.verbose);
	if (options.version) {
		printf("limpet %s\n", LIMPET_VERSION);
		return 0;
	}
	if (options.file_missing) {
		log_error("--config needs a file");
		return 2;
	}
	if (argc < 2 && !options.help) {
		log_error("no command; `limpet --help` lists them");
		return 2;
	}
	if (argc < 2) {
		usage();
		return 0;
	}
	command = find_command(argv[1]);
	if (!command) {
		log_error("unknown %s '%s'; `limpet --help` lists the commands",
			  argv[1][0] == '-' ? "option" : "command", argv[1]);
		return 2;
	}
	if (options.help) {
		command_usage(command);
		return 0;
	}
	if (command->takes_file && argc == 3 && argv[2][0] != '-') {
		options.file = argv[2];
		argc--;
	}
	return run(command, options.file, argc - 1, argv + 1);
}
