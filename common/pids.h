/* SPDX-License-Identifier: BSD-2-Clause */
/* pids.h - process numbers as programs of the kernel note them, and as this process knows them. */
#ifndef LIMPET_PIDS_H
#define LIMPET_PIDS_H

#include <stdbool.h>

/* Are the two the same? Not in a PID namespace of its own, where the machine's number is nobody's,
 * or another's. */
bool pids_are_the_machines(void);

#endif
