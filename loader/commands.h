/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commands.h - the commands of `limpet`. Each gets the configuration and its own arguments, argv[0]
 * being its name; --config and --verbose are taken out by main. What it returns is the exit
 * status: 0, 1 for a failure that it has told in one line, 2 for wrong usage.
 */
#ifndef LIMPET_COMMANDS_H
#define LIMPET_COMMANDS_H

#include "config.h"

/* load.c, unload.c, reload.c, check.c, role.c */
int command_load(const struct config *config, int argc, char **argv);
int command_unload(const struct config *config, int argc, char **argv);
int command_reload(const struct config *config, int argc, char **argv);
int command_check(const struct config *config, int argc, char **argv);
int command_activate(const struct config *config, int argc, char **argv);
int command_deactivate(const struct config *config, int argc, char **argv);

/* status.c, show.c, explain.c */
int command_status(const struct config *config, int argc, char **argv);
int command_show(const struct config *config, int argc, char **argv);
int command_explain(const struct config *config, int argc, char **argv);
int command_ready(const struct config *config, int argc, char **argv);

/* operate.c, drain.c */
int command_affinity(const struct config *config, int argc, char **argv);
int command_forget(const struct config *config, int argc, char **argv);
int command_monitor(const struct config *config, int argc, char **argv);
int command_drain(const struct config *config, int argc, char **argv);
int command_resume(const struct config *config, int argc, char **argv);

/* main.c: one line about what getopt_long has answered with '?' or ':'. */
void command_option_error(int answer, char **argv, const char *usage);

#endif
