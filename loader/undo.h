/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * undo.h - what a target changes on its node besides BPF: sysctls, whose former values are kept in
 * RUNTIME/undo. Functions that fail have said why in the log and return a negative errno.
 */
#ifndef LIMPET_UNDO_H
#define LIMPET_UNDO_H

#include "config.h"

/*
 * arp_ignore and arp_announce, so that the target neither answers for a service's address nor uses
 * it in its own questions. The former values are on disk before anything changes; those of an
 * earlier load stay.
 */
int undo_prepare(const struct config *config);
/* Put the former values back, where ours still stand, and remove the file. -ENOENT: there is none.
 */
int undo_restore(const struct config *config);

#endif
