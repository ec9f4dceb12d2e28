/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leave.h - `limpetd --leave`: a target whose agent is not running unloads. Nobody else would tell
 * its routers, who would go on sending it their share of new clients.
 */
#ifndef LIMPET_LEAVE_H
#define LIMPET_LEAVE_H

#include "config.h"

/* Takes the configuration. The exit status: 0 when every router has been told, else 1 with a line
 * in the log for each that has not. Done within 3 s. */
int leave(struct config *config);

#endif
