/* SPDX-License-Identifier: BSD-2-Clause */
/* operate.h - what commands that the agent carries out share. */
#ifndef LIMPET_OPERATE_H
#define LIMPET_OPERATE_H

#include "config.h"

/* POST to the agent: 0, or 1 with its own words, or why it does not answer, on standard error. */
int operate_post(const struct config *config, const char *path);

#endif
