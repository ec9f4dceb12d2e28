/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * settings.h - node/settings, which the XDP program goes by, and the configuration that they come
 * from.
 *
 * The addresses that packets are encapsulated with are those of the load. Peers learn them in
 * HELLO, and a target takes encapsulated packets from them and for them alone: under another
 * address, packets that are on their way, and all that come before every peer has heard of it,
 * would be dropped.
 */
#ifndef LIMPET_SETTINGS_H
#define LIMPET_SETTINGS_H

#include "config.h"

void settings_from(const struct config *config, struct settings *settings);

/* May the configuration be applied where these are loaded (all zero: nothing is)? 0, or -EBUSY with
 * one line in error: which key differs, and what to do. */
int settings_check(const struct config *config, const struct settings *loaded,
		   char error[CONFIG_ERROR]);
/* The addresses of the configuration become those that are loaded. */
void settings_keep(const struct settings *loaded, struct config *config);

#endif
