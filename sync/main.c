/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - limpetd: options, signals, and what the service manager wants to hear. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "agent.h"
#include "log.h"

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

	(void)signal;
	(void)what;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)(agent_now_ns() / 1000));
	agent_reload(&daemon->agent);
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

static void usage(FILE *out)
{
	fprintf(out, "usage: limpetd [--config FILE] [--verbose] [--version]\n"
		     "\n"
		     "The agent of a Limpet node, router or target or both.\n"
		     "  --config FILE  instead of " CONFIG_PATH "\n"
		     "  --verbose      log what is of interest for finding faults\n"
		     "  --version      say which release this is\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"verbose", no_argument, NULL, 'v'},
						{"version", no_argument, NULL, 'V'},
						{"help", no_argument, NULL, 'h'},
						{}};
	const char *path = CONFIG_PATH;
	struct config *config;
	char error[CONFIG_ERROR];
	bool verbose = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:vVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		case 'V':
			printf("limpetd " LIMPET_VERSION "\n");
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	log_init("limpetd", verbose);
	if (config_load(path, &config, error)) {
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	return run(config);
}
