/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apply.h - a configuration on a node that is loaded: shared by load, reload and unload. Functions
 * that fail have said why in the log and return a negative errno.
 */
#ifndef LIMPET_APPLY_H
#define LIMPET_APPLY_H

#include <stdbool.h>

#include "config.h"
#include "maps.h"

/* The maps of the node, loaded with the roles that the configuration has or fewer. */
int apply_open(const struct config *config, struct maps *maps);
/* May the configuration be applied? end_affinities: also when that ends affinities. Changes
 * nothing. */
int apply_check(const struct config *config, const struct maps *maps, bool end_affinities);
/* The check, then settings and services. */
int apply_all(const struct config *config, const struct maps *maps, bool end_affinities);
/* Would limpetd take the configuration over? One that does not run reads it when it starts. Changes
 * nothing. */
int apply_ask_agent(const struct config *config);
/* It does now. */
int apply_tell_agent(const struct config *config);

#endif
