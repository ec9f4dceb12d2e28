/* SPDX-License-Identifier: BSD-2-Clause */
/* memory.h - have the tables room in this machine? */
#ifndef LIMPET_MEMORY_H
#define LIMPET_MEMORY_H

#include "config.h"

/* 0, or -ENOMEM with one line in error: the tables, once full, take more than there is at all. */
int memory_check(const struct config *config, char error[CONFIG_ERROR]);

#endif
