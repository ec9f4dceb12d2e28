/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpffs.h - the directory of the pins. Functions that fail have said why in the log and return a
 * negative errno.
 *
 * bpffs allows no dot in a name, so the directory in which a load prepares is "v1-new".
 */
#ifndef LIMPET_BPFFS_H
#define LIMPET_BPFFS_H

#include <stdbool.h>

#include "config.h"

#define BPFFS_NEW LAYOUT_DIRECTORY "-new"

/* Make PIN_PATH, which config_check_machine has found to be on a bpffs, and lock it against another
 * `limpet load`, `reload` or `unload`: an fd that holds the lock. */
int bpffs_lock(const struct config *config);
/* The same, but -ENOENT without a word if there is no PIN_PATH. */
int bpffs_lock_present(const struct config *config);

/* One line on standard error, behind `what`: why the pinned maps cannot be used (an error of
 * maps_open). */
void bpffs_unusable(const struct config *config, int error, const char *what);
bool bpffs_exists(const struct config *config, const char *directory);
/* PIN_PATH/DIRECTORY and, below it, node, router, target, programs, links: empty. */
int bpffs_make(const struct config *config, const char *directory);
int bpffs_rename(const struct config *config, const char *from, const char *to);
/* Does some limpetd go by what is loaded? It holds a lock. */
bool bpffs_has_agent(const struct config *config);
/* Another version's pins at this PIN_PATH? Its directory's name in name. */
bool bpffs_other_layout(const struct config *config, char name[NAME_SIZE]);

/* PIN_PATH/DIRECTORY/KIND/NAME into path. */
void bpffs_path(const struct config *config, const char *directory, const char *kind,
		const char *name, char path[4096]);
int bpffs_pin(const struct config *config, const char *directory, const char *kind,
	      const char *name, int fd);

/* Detach a pinned link, remove the pin and wait until it is really gone. -ENOENT without a word. */
int bpffs_detach(const struct config *config, const char *directory, const char *name);
/*
 * Detach all links in PIN_PATH/DIRECTORY, remove everything and wait until programs, maps and links
 * are really gone. -EBUSY: some process still holds something, as the log says.
 */
int bpffs_remove(const struct config *config, const char *directory);
/* PIN_PATH itself, if it is empty. */
void bpffs_remove_path(const struct config *config);

#endif
