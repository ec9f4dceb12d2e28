/* SPDX-License-Identifier: BSD-2-Clause */
#include "links.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpffs.h"
#include "interfaces.h"
#include "log.h"
#include "xdp.h"

#define LINK_NAME INTERFACE_LINK_NAME
#define LINKS_MAX (ALL_INTERFACES + 8)

struct attachment {
	const struct config *config;
	const char *directory;
	char names[LINKS_MAX][LINK_NAME]; /* of the links that there should be */
	unsigned int count;
	int cgroup; /* fd */
};

static int open_link(const struct attachment *at, const char *name)
{
	char path[4096];

	bpffs_path(at->config, at->directory, "links", name, path);
	return bpf_obj_get(path);
}

static int program_info(int fd, struct bpf_prog_info *info)
{
	__u32 length = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &length);
}

static int pin(struct attachment *at, const char *name, int link)
{
	return bpffs_pin(at->config, at->directory, "links", name, link);
}

/* ------------------------------------------------------------------------------------------
 * constants: two programs with the same instructions may still differ in these */

#define MAX_CONSTANTS 256

/* The value of the program's .rodata map, if it has one: its size, 0, or -errno. */
static int read_constants(int program, char value[MAX_CONSTANTS])
{
	__u32 ids[64];
	struct bpf_prog_info info = {.nr_map_ids = 64, .map_ids = (__u64)(unsigned long)ids};
	__u32 length = sizeof(info), zero = 0;
	int error = bpf_obj_get_info_by_fd(program, &info, &length);

	if (error)
		return error;
	for (__u32 i = 0; i < info.nr_map_ids && i < 64; i++) {
		struct bpf_map_info map = {0};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		length = sizeof(map);
		if (fd < 0)
			return fd;
		error = bpf_obj_get_info_by_fd(fd, &map, &length);
		if (!error && strstr(map.name, ".rodata")) {
			if (map.value_size <= MAX_CONSTANTS)
				error = bpf_map_lookup_elem(fd, &zero, value);
			else
				error = -E2BIG;
			close(fd);
			return error ? error : (int)map.value_size;
		}
		close(fd);
		if (error)
			return error;
	}
	return 0;
}

/* Does this link run the same instructions with the same constants already? */
static bool runs_already(int link, int program)
{
	char before[MAX_CONSTANTS], after[MAX_CONSTANTS];
	struct bpf_prog_info old, new;
	struct bpf_link_info info = {0};
	__u32 length = sizeof(info);
	bool same = false;
	int fd, size;

	if (bpf_obj_get_info_by_fd(link, &info, &length))
		return false;
	fd = bpf_prog_get_fd_by_id(info.prog_id);
	if (fd < 0)
		return false;
	if (!program_info(fd, &old) && !program_info(program, &new)) {
		size = read_constants(fd, before);
		same = !memcmp(old.tag, new.tag, sizeof(old.tag)) && size >= 0 &&
		       size == read_constants(program, after) && !memcmp(before, after, size);
	}
	close(fd);
	return same;
}

/* ------------------------------------------------------------------------------------------
 * XDP */

int links_check(const struct config *config)
{
	const char *names[ALL_INTERFACES];
	unsigned int count = interfaces_list(config, names);
	int error = 0;

	for (unsigned int i = 0; i < count && !error; i++)
		if (!interface_has_xdp(config, names[i]))
			error = xdp_check(names[i], if_nametoindex(names[i]));
	return error;
}

static int update(int link, int program, const char *name)
{
	int error = bpf_link_update(link, program, NULL);

	if (error)
		log_error("link %s: the program cannot be replaced: %s", name, strerror(-error));
	return error;
}

static int apply_xdp(struct attachment *at, const char *interface, int program)
{
	unsigned int index = if_nametoindex(interface);
	char *name = at->names[at->count++];
	int link, error;

	interface_link_name(interface, name);
	link = open_link(at, name);
	if (link >= 0 && interface_link_is_on(link, index)) {
		error = update(link, program, name);
		if (!error)
			log_info("%s: XDP program replaced", interface);
		close(link);
		return error;
	}
	if (link >= 0) {
		close(link);
		bpffs_detach(at->config, at->directory, name);
	}
	link = xdp_attach(interface, index, program);
	if (link < 0)
		return link;
	error = pin(at, name, link);
	close(link);
	return error;
}

static int apply_all_xdp(struct attachment *at, int program)
{
	const char *names[ALL_INTERFACES];
	unsigned int count = interfaces_list(at->config, names);
	int error = 0;

	for (unsigned int i = 0; i < count && !error; i++)
		error = apply_xdp(at, names[i], program);
	return error;
}

/* ------------------------------------------------------------------------------------------
 * tracing and cgroup */

static int attach_and_pin(struct attachment *at, struct bpf_program *program, bool is_tracing)
{
	const char *name = bpf_program__name(program);
	struct bpf_link *link = is_tracing ? bpf_program__attach_trace(program)
					   : bpf_program__attach_cgroup(program, at->cgroup);
	int error;

	if (!link) {
		error = -errno;
		if (is_tracing)
			log_error("program %s: cannot be attached: %s", name, strerror(-error));
		else
			log_error("program %s: cannot be attached to %s: %s", name,
				  at->config->target.cgroup, strerror(-error));
		return error;
	}
	error = pin(at, name, bpf_link__fd(link));
	bpf_link__destroy(link); /* pinned: stays attached */
	return error;
}

static int apply_tracing(struct attachment *at, struct bpf_program *program)
{
	const char *name = bpf_program__name(program);
	int link = open_link(at, name);
	bool same;

	snprintf(at->names[at->count++], LINK_NAME, "%s", name);
	if (link < 0)
		return attach_and_pin(at, program, true);
	same = runs_already(link, bpf_program__fd(program));
	close(link);
	if (same)
		return 0;
	bpffs_detach(at->config, at->directory, name);
	return attach_and_pin(at, program, true);
}

/* The programs that are. */
static const char *const on_cgroup[] = {"lower_mss", "request_set", "request_get"};

/* Is the link on the cgroup that the configuration names? */
static bool is_on_cgroup(int link, int cgroup)
{
	struct bpf_link_info info = {0};
	__u32 length = sizeof(info);
	struct stat status;

	if (bpf_obj_get_info_by_fd(link, &info, &length) || fstat(cgroup, &status))
		return false;
	return info.cgroup.cgroup_id == status.st_ino;
}

static int apply_cgroup(struct attachment *at, struct bpf_program *program)
{
	const char *name = bpf_program__name(program);
	int link = open_link(at, name);
	int error;

	snprintf(at->names[at->count++], LINK_NAME, "%s", name);
	if (link < 0)
		return attach_and_pin(at, program, false);
	if (is_on_cgroup(link, at->cgroup)) {
		error = update(link, bpf_program__fd(program), name);
		close(link);
		return error;
	}
	close(link);
	bpffs_detach(at->config, at->directory, name);
	return attach_and_pin(at, program, false);
}

static int apply_program(void *context, struct bpf_program *program)
{
	struct attachment *at = context;

	switch (bpf_program__type(program)) {
	case BPF_PROG_TYPE_TRACING:
		return apply_tracing(at, program);
	case BPF_PROG_TYPE_SOCK_OPS:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
		return apply_cgroup(at, program);
	case BPF_PROG_TYPE_XDP: /* last: what it unwraps finds everything else in its place */
	default:		/* attached by the agent, or run by it */
		return 0;
	}
}

static int apply_xdp_program(void *context, struct bpf_program *program)
{
	if (bpf_program__type(program) != BPF_PROG_TYPE_XDP)
		return 0;
	return apply_all_xdp(context, bpf_program__fd(program));
}

/* ------------------------------------------------------------------------------------------
 * what is there */

static bool is_wanted(const struct attachment *at, const char *name)
{
	for (unsigned int i = 0; i < at->count; i++)
		if (!strcmp(at->names[i], name))
			return true;
	return false;
}

/* The name of a pinned link that is not among those of `at`, or NULL. */
static const char *find_unwanted(const struct attachment *at, char name[LINK_NAME])
{
	char path[4096];
	struct dirent *entry;
	DIR *directory;
	const char *found = NULL;

	bpffs_path(at->config, at->directory, "links", "", path);
	directory = opendir(path);
	while (directory && !found && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.' || is_wanted(at, entry->d_name))
			continue;
		snprintf(name, LINK_NAME, "%.63s", entry->d_name);
		found = name;
	}
	if (directory)
		closedir(directory);
	return found;
}

/* The interface of an XDP link's name, in place. */
static const char *interface_of(char *name)
{
	for (char *c = name; *c; c++)
		if (*c == ':')
			*c = '.';
	return strncmp(name, "xdp_", 4) ? name : name + 4;
}

int links_apply(const struct config *config, const struct objects *objects, const char *directory)
{
	struct attachment at = {.config = config, .directory = directory, .cgroup = -1};
	char unwanted[LINK_NAME];
	int error;

	if (config->has_target) {
		at.cgroup = open(config->target.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at.cgroup < 0) {
			error = -errno;
			log_error("cgroup %s: %s", config->target.cgroup, strerror(-error));
			return error;
		}
	}
	error = objects_each_program(objects, apply_program, &at);
	if (!error)
		error = objects_each_program(objects, apply_xdp_program, &at);
	while (!error && find_unwanted(&at, unwanted)) {
		error = bpffs_detach(config, directory, unwanted);
		if (!error)
			log_info("%s: detached, the configuration does not name it any more",
				 interface_of(unwanted));
	}
	if (at.cgroup >= 0)
		close(at.cgroup);
	return error;
}

const char *links_difference(const struct config *config, const char *directory)
{
	struct attachment at = {.config = config, .directory = directory};
	const char *names[ALL_INTERFACES];
	unsigned int count = interfaces_list(config, names);
	static char name[LINK_NAME];

	for (unsigned int i = 0; i < count; i++) {
		int link;

		interface_link_name(names[i], at.names[at.count]);
		link = open_link(&at, at.names[at.count++]);
		if (link < 0)
			return names[i];
		close(link);
	}
	for (;;) {
		if (!find_unwanted(&at, name))
			return NULL;
		if (!strncmp(name, "xdp_", 4))
			return interface_of(name);
		snprintf(at.names[at.count++], LINK_NAME, "%s", name); /* not an interface's */
		if (at.count == LINKS_MAX)
			return NULL;
	}
}

bool links_elsewhere(const struct config *config)
{
	const struct attachment at = {.config = config, .directory = LAYOUT_DIRECTORY};
	int cgroup = open(config->target.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool elsewhere = false;

	if (cgroup < 0)
		return true;
	for (size_t i = 0; i < sizeof(on_cgroup) / sizeof(*on_cgroup); i++) {
		int link = open_link(&at, on_cgroup[i]);

		if (link < 0)
			continue;
		elsewhere |= !is_on_cgroup(link, cgroup);
		close(link);
	}
	close(cgroup);
	return elsewhere;
}
