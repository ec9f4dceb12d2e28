/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_read.h - from what the file says (config_schema.h) to what it means (config.h). A function
 * that finds something wrong says so in reading->error and returns -EINVAL. For config.c and its
 * parts only.
 */
#ifndef LIMPET_CONFIG_READ_H
#define LIMPET_CONFIG_READ_H

#include "config.h"
#include "config_schema.h"
#include "document.h"

struct reading {
	struct document document;
	struct file *file;
	struct config *config;
	char *error;
	char path[128]; /* room for AT() */
};

/* The path of a value, for WRONG() and read_...(). */
#define AT(reading, ...)                                                                           \
	(snprintf((reading)->path, sizeof((reading)->path), __VA_ARGS__), (reading)->path)

#define WRONG(reading, path, ...)                                                                  \
	document_wrong(&(reading)->document, document_line(&(reading)->document, path),            \
		       (reading)->error, CONFIG_ERROR, __VA_ARGS__)

/* Of a host, as others know it: not zero, multicast, loopback or link-local. */
int read_address(struct reading *reading, const char *path, const char *text,
		 struct address *address);
/* any: all addresses of this node will do as well. */
int read_endpoint(struct reading *reading, const char *path, const char *text,
		  struct address *address, __be16 *port, bool any);
int read_name(struct reading *reading, const char *path, const char *text, char name[NAME_SIZE]);
/* text NULL: not given, *ms stays. */
int read_duration(struct reading *reading, const char *path, const char *text, uint32_t most,
		  uint32_t *ms);
/* section: "router" or "target". */
int read_interfaces(struct reading *reading, const char *section, char **names, unsigned int count,
		    char interfaces[][IF_NAMESIZE]);
/* An allocated path: a relative one is relative to the file's directory. NULL: no such directory.
 */
char *read_path(struct reading *reading, const char *path);

/* config_router.c: the section `router`, if there is one. */
int read_router(struct reading *reading);

#endif
