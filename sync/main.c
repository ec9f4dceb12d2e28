/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - limpetd: options, signals, and what the service manager wants to hear. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "agent.h"
#include "leave.h"
#include "log.h"

#define EXIT_USAGE 2

struct daemon {
	struct agent agent;
	struct event *terminate, *interrupt, *hangup, *watchdog;
};

static void on_stop(evutil_socket_t signal, short what, void *context)
{
	struct daemon *daemon = context;

	(void)what;
	log_info("stopping on signal %d; packets, connections and affinities go on without limpetd",
		 (int)signal);
	event_base_loopbreak(daemon->agent.base);
}

static void on_hangup(evutil_socket_t signal, short what, void *context)
{
	struct daemon *daemon = context;
	char error[CONFIG_ERROR];

	(void)signal;
	(void)what;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)(agent_now_ns() / 1000));
	agent_reload(&daemon->agent, error);
	sd_notify(0, "READY=1");
}

static void on_watchdog(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	sd_notify(0, "WATCHDOG=1");
}

static int daemon_start(struct daemon *daemon)
{
	struct event_base *base = daemon->agent.base;
	uint64_t usec = 0;

	signal(SIGPIPE, SIG_IGN);
	daemon->terminate = evsignal_new(base, SIGTERM, on_stop, daemon);
	daemon->interrupt = evsignal_new(base, SIGINT, on_stop, daemon);
	daemon->hangup = evsignal_new(base, SIGHUP, on_hangup, daemon);
	if (!daemon->terminate || !daemon->interrupt || !daemon->hangup ||
	    event_add(daemon->terminate, NULL) || event_add(daemon->interrupt, NULL) ||
	    event_add(daemon->hangup, NULL))
		return -1;
	if (sd_watchdog_enabled(0, &usec) > 0) {
		struct timeval period = {.tv_sec = (time_t)(usec / 2 / 1000000),
					 .tv_usec = (suseconds_t)(usec / 2 % 1000000)};

		daemon->watchdog = event_new(base, -1, EV_PERSIST, on_watchdog, daemon);
		if (!daemon->watchdog || event_add(daemon->watchdog, &period))
			return -1;
	}
	return 0;
}

static void daemon_stop(struct daemon *daemon)
{
	struct event *events[] = {daemon->terminate, daemon->interrupt, daemon->hangup,
				  daemon->watchdog};

	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
		if (events[i])
			event_free(events[i]);
}

static int run(struct config *config)
{
	struct daemon daemon = {};
	int status = EXIT_FAILURE;

	if (agent_start(&daemon.agent, config) || daemon_start(&daemon))
		goto out;
	sd_notify(0, "READY=1");
	log_info("limpetd " LIMPET_VERSION " on %s", config->node);
	event_base_dispatch(daemon.agent.base);
	sd_notify(0, "STOPPING=1");
	status = EXIT_SUCCESS;
out:
	daemon_stop(&daemon);
	agent_stop(&daemon.agent);
	return status;
}

static void usage(void)
{
	printf("usage: limpetd [--config FILE] [--verbose] [--leave]\n"
	       "\n"
	       "The agent of a Limpet node, router or target or both.\n"
	       "  --config FILE  instead of " CONFIG_PATH "\n"
	       "  --verbose      log what is of interest for finding faults\n"
	       "  --leave        tell the routers that this target leaves, and end: for `limpet\n"
	       "                 unload` while no other limpetd runs\n"
	       "  --help\n"
	       "  --version      say which release this is\n");
}

/* What was asked for on the command line. */
struct options {
	const char *path;
	bool verbose, leave;
};

/* -1: go on; else the exit status. What is wrong is said in one line. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"config", required_argument, NULL, 'c'}, {"verbose", no_argument, NULL, 'v'},
		{"leave", no_argument, NULL, 'l'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {}};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":c:vVh", names, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->path = optarg;
			break;
		case 'v':
			options->verbose = true;
			break;
		case 'l':
			options->leave = true;
			break;
		case 'V':
			puts("limpetd " LIMPET_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage();
			return EXIT_SUCCESS;
		case ':':
			log_error("%s needs a file; `limpetd --help` lists the options",
				  argv[optind - 1]);
			return EXIT_USAGE;
		default:
			log_error("unknown option '%s'; `limpetd --help` lists them",
				  argv[optind - 1]);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	log_error("unknown argument '%s'; limpetd takes options only: `limpetd --help` lists them",
		  argv[optind]);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options options = {.path = CONFIG_PATH};
	struct config *config;
	char error[CONFIG_ERROR];
	int status;

	log_init("limpetd", false);
	status = parse(argc, argv, &options);
	if (status >= 0)
		return status;
	log_init("limpetd", options.verbose);
	if (config_load(options.path, &config, error)) {
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	return options.leave ? leave(config) : run(config);
}
