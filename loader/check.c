/* SPDX-License-Identifier: BSD-2-Clause */
/* check.c - `limpet check`: the configuration, and this machine against it. */
#include <stdio.h>

#include "commands.h"
#include "log.h"

int command_check(const struct config *config, int argc, char **argv)
{
	char text[CONFIG_ERROR];

	if (argc > 1) {
		log_error("unknown argument '%s'; usage: limpet check [FILE]", argv[1]);
		return 2;
	}
	if (config_check_machine(config, text)) {
		log_error("%s", text);
		return 1;
	}
	printf("%s: ok\n", config->path);
	return 0;
}
