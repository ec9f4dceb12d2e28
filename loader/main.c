/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - `limpet`: which command, which configuration. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "log.h"

static const struct command {
	const char *name, *arguments, *help;
	int (*run)(const struct config *config, int argc, char **argv);
	enum {
		TAKES_FILE = 1,	  /* its argument is the configuration file */
		NEEDS_PLACES = 2, /* alone, so a configuration that is wrong does not stop it */
		SHOWS = 4,	  /* what it prints is what it is for */
	} flags;
} commands[] = {
	{"load", "",
	 "verify, load, pin and attach the programs; on a loaded node: upgrade in place",
	 command_load, 0},
	{"unload", "[--force]",
	 "end limpetd, detach and remove everything, and undo what load has changed",
	 command_unload, 0},
	{"reload", "[--end-affinities]",
	 "apply a changed configuration; nothing at all if it is wrong", command_reload, 0},
	{"check", "[FILE]", "check the configuration, and this machine against it", command_check,
	 TAKES_FILE},
	{"status", "[--json]", "this node in a few lines", command_status, SHOWS},
	{"show",
	 "services|targets|instances|connections|affinities|routers|sync [--service S] "
	 "[--client ADDRESS] [--json]",
	 "tables", command_show, SHOWS},
	{"explain", "CLIENT[:PORT] SERVICE", "why this client goes where it goes", command_explain,
	 SHOWS},
	{"monitor", "", "events as they happen, one JSON object a line", command_monitor, SHOWS},
	{"affinity", "release CLIENT SERVICE", "end an affinity (at the target)", command_affinity,
	 0},
	{"drain", "[instance ID] [--wait] [--timeout T] [--end-affinities]",
	 "no new clients for this target or instance", command_drain, 0},
	{"resume", "[instance ID]",
	 "new clients again; instances that were drained by themselves are resumed by themselves",
	 command_resume, 0},
	{"activate", "", "this router owns the services' addresses now (for keepalived)",
	 command_activate, NEEDS_PLACES},
	{"deactivate", "", "another router owns them now (for keepalived)", command_deactivate,
	 NEEDS_PLACES},
	{"ready", "", "0: this router could take over; 1: not, says who is missing; 2: cannot tell",
	 command_ready, 0},
	{"forget", "TARGET", "a target that will not come back", command_forget, 0},
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
			options->file_missing = !*options->file;
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

void command_option_error(int answer, char **argv, const char *usage)
{
	if (answer == ':')
		log_error("%s: what value? usage: %s", argv[optind - 1], usage);
	else if (optopt && !strchr(argv[optind - 1], '=')) /* it may still be within a word */
		log_error("unknown option '-%c'; usage: %s", optopt, usage);
	else
		log_error("unknown option '%s'; usage: %s", argv[optind - 1], usage);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int load(const struct command *command, const char *file, struct config **config,
		char error[CONFIG_ERROR])
{
	char second[CONFIG_ERROR];
	int wrong = config_load(file, config, error);

	if (!wrong || !(command->flags & NEEDS_PLACES) || config_load_places(file, config, second))
		return wrong;
	log_warning("%s", error);
	return 0;
}

static int run(const struct command *command, const char *file, int argc, char **argv)
{
	char error[CONFIG_ERROR];
	struct config *config;
	int status;

	if (load(command, file, &config, error)) {
		log_error("%s", error);
		return 1;
	}
	status = command->run(config, argc, argv);
	config_free(config);
	if ((fflush(stdout) || ferror(stdout)) && command->flags & SHOWS && !status) {
		log_error("standard output cannot be written: %s", strerror(errno));
		return 1;
	}
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
	if (command->flags & TAKES_FILE && argc == 3 && argv[2][0] != '-') {
		options.file = argv[2];
		argc--;
	}
	return run(command, options.file, argc - 1, argv + 1);
}
