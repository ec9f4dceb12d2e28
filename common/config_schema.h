/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_schema.h - the configuration file as it is written: keys, types and ranges, before any
 * meaning is given to it. NULL: the key is not there. For config.c only.
 */
#ifndef LIMPET_CONFIG_SCHEMA_H
#define LIMPET_CONFIG_SCHEMA_H

#include <stdint.h>

#include "config.h"
#include "document.h"

struct file_service {
	char *name, *address;
	uint16_t port;
	int *protocol, *distribution, *affinity, *takeover;
	char *scope, *affinity_idle, *affinity_max_life;
	uint8_t *client_prefix;
};

struct file_router {
	char **interfaces;
	unsigned int interfaces_count;
	char *address, *address6, *listen;
	int *standby_sync;
	char *hold_time, *dead_time;
	struct file_service *services;
	unsigned int services_count;
};

struct file_target {
	char **interfaces;
	unsigned int interfaces_count;
	char *address;
	uint16_t *weight;
	char **routers;
	unsigned int routers_count;
	char **service_addresses;
	unsigned int service_addresses_count;
	char *cgroup;
	uint32_t *affinity_quota;
};

struct file_tls {
	char *ca, *certificate, *key;
};

struct file_tables {
	uint32_t *connections, *affinities;
};

struct file {
	char *node;
	struct file_router *router;
	struct file_target *target;
	struct file_tls *tls;
	struct file_tables *tables;
	char *pin_path, *runtime_directory, *state_directory;
};

/* 0, or -EINVAL with "FILE:LINE: what is wrong; what is right" in error. */
int file_load(struct document *document, struct file **file, char error[CONFIG_ERROR]);
void file_free(struct file *file);

#endif
