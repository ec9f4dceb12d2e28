/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config.h - /etc/limpet/limpet.yaml. The schema is a table (config.c). Whatever is wrong gives one
 * line, "FILE:LINE: what is wrong; what to do", and no configuration.
 */
#ifndef LIMPET_CONFIG_H
#define LIMPET_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "layout.h"

#define CONFIG_PATH	      "/etc/limpet/limpet.yaml"
#define CONFIG_MAX_INTERFACES 16
#define CONFIG_ERROR	      512

struct config_service {
	char name[NAME_SIZE];
	char scope[NAME_SIZE];
	struct service_key key;
	enum distribution distribution;
	enum affinity_mode affinity;
	uint32_t affinity_idle_ms;
	uint32_t affinity_max_life_ms;
	unsigned int client_prefix; /* of 128 */
	bool takeover;
	unsigned int line; /* in the file, for messages */
};

struct config_router {
	char interfaces[CONFIG_MAX_INTERFACES][IF_NAMESIZE];
	unsigned int interface_count;
	struct address address;	 /* outer source */
	struct address address6; /* outer source towards IPv6 targets, or zero (key `address6`; or
				    address is IPv6) */
	struct address listen;
	__be16 listen_port;
	bool sync_on_failure;
	uint32_t hold_ms, dead_ms;
	struct config_service *services;
	unsigned int service_count;
};

struct config_endpoint {
	struct address address;
	__be16 port;
};

struct config_target {
	char interfaces[CONFIG_MAX_INTERFACES][IF_NAMESIZE];
	unsigned int interface_count;
	struct address address;
	uint32_t weight;
	struct config_endpoint *routers;
	unsigned int router_count;
	struct prefix *service_addresses;
	unsigned int service_address_count;
	uint32_t affinity_quota; /* per instance; 0: none (key `affinity_quota`) */
	char *cgroup;		 /* the cgroup2 mount when not configured */
};

struct config {
	char *path; /* of the file; relative paths in it are relative to its directory */
	char node[NAME_SIZE];
	bool has_router, has_target;
	struct config_router router;
	struct config_target target;
	char *tls_ca, *tls_certificate, *tls_key; /* absolute */
	uint32_t max_connections, max_affinities;
	char *pin_path, *runtime_directory, *state_directory;
};

/* 0, or -errno with one line in error. Checks the file alone: syntax, keys, ranges, overlaps. */
int config_load(const char *path, struct config **config, char error[CONFIG_ERROR]);
/* Checks it against this machine: interfaces exist, keys can be read and match, the cgroup, a
 * bpffs and limpetd's directories are there, or can be made. */
int config_check_machine(const struct config *config, char error[CONFIG_ERROR]);
/* Does this machine have the node's own addresses? 0, or -EADDRNOTAVAIL with one line in error:
 * while it boots they may still be to come. */
int config_check_addresses(const struct config *config, char error[CONFIG_ERROR]);
/*
 * For a takeover, which must not fail since somebody is just editing the file: node, pin_path and
 * runtime_directory alone, whatever else is wrong, as long as it is YAML. The rest is zero.
 */
int config_load_places(const char *path, struct config **config, char error[CONFIG_ERROR]);
void config_free(struct config *config);

#endif
