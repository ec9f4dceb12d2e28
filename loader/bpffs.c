/* SPDX-License-Identifier: BSD-2-Clause */
#include "bpffs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "log.h"

#define PATH_SIZE 4096
#define MAX_PINS  256
#define GONE_MS	  10000 /* what is not gone after this long is held by somebody */
#define POLL_MS	  2

enum kind { KIND_MAP, KIND_PROGRAM, KIND_LINK };

static const struct {
	const char *name;
	enum kind kind;
} kinds[] = {
	{"links", KIND_LINK}, /* first: nothing runs any more before its maps go */
	{"programs", KIND_PROGRAM}, {"node", KIND_MAP}, {"router", KIND_MAP}, {"target", KIND_MAP},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* An object that was pinned: when its id is no more, it is gone. */
struct pinned {
	enum kind kind;
	__u32 id;
	char name[64];
};

struct pins {
	struct pinned pin[MAX_PINS];
	unsigned int count;
};

static void path_of(const struct config *config, const char *directory, const char *kind,
		    char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/%s%s%s", config->pin_path, directory, kind ? "/" : "",
		 kind ? kind : "");
}

void bpffs_path(const struct config *config, const char *directory, const char *kind,
		const char *name, char path[4096])
{
	snprintf(path, PATH_SIZE, "%s/%s/%s/%s", config->pin_path, directory, kind, name);
}

/* ------------------------------------------------------------------------------------------
 * directories */

/* Is what was locked still at PIN_PATH? An unload may have removed it meanwhile. */
static bool is_current(const struct config *config, int fd)
{
	struct stat locked, present;

	return !fstat(fd, &locked) && !stat(config->pin_path, &present) &&
	       locked.st_ino == present.st_ino && locked.st_dev == present.st_dev;
}

int bpffs_lock_present(const struct config *config)
{
	for (;;) {
		int fd = open(config->pin_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int error = fd < 0 ? -errno : 0;

		if (error == -ENOENT)
			return error;
		if (!error && flock(fd, LOCK_EX))
			error = -errno;
		if (error) {
			log_error("pin_path %s: cannot be locked: %s", config->pin_path,
				  strerror(-error));
			if (fd >= 0)
				close(fd);
			return error;
		}
		if (is_current(config, fd))
			return fd;
		close(fd);
	}
}

int bpffs_lock(const struct config *config)
{
	int fd;

	do {
		if (mkdir(config->pin_path, 0700) && errno != EEXIST) {
			int error = -errno;

			log_error("pin_path %s: cannot be made: %s", config->pin_path,
				  strerror(-error));
			return error;
		}
		fd = bpffs_lock_present(config);
	} while (fd == -ENOENT); /* removed again meanwhile */
	return fd;
}

void bpffs_unusable(const struct config *config, int error, const char *what)
{
	const char *path = config->pin_path;

	if (error == -ENOENT)
		log_error("%sLimpet is not loaded at %s: run `limpet load`", what, path);
	else if (error == -EACCES || error == -EPERM)
		log_error("%s%s: %s: run it as root", what, path, strerror(-error));
	else
		log_error("%s%s: the pinned maps cannot be used: %s%s", what, path,
			  strerror(-error),
			  error == -EPROTO ? "; another program's, or another layout's" : "");
}

bool bpffs_exists(const struct config *config, const char *directory)
{
	char path[PATH_SIZE];

	path_of(config, directory, NULL, path);
	return !access(path, F_OK);
}

bool bpffs_has_agent(const struct config *config)
{
	char path[PATH_SIZE];
	bool held;
	int fd;

	path_of(config, LAYOUT_DIRECTORY, NULL, path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

int bpffs_make(const struct config *config, const char *directory)
{
	char path[PATH_SIZE];

	path_of(config, directory, NULL, path);
	for (size_t i = 0;; i++) {
		if (mkdir(path, 0700)) {
			int error = -errno;

			log_error("%s: cannot be made: %s", path, strerror(-error));
			return error;
		}
		if (i == KINDS)
			return 0;
		path_of(config, directory, kinds[i].name, path);
	}
}

int bpffs_rename(const struct config *config, const char *from, const char *to)
{
	char old[PATH_SIZE], new[PATH_SIZE];
	int error;

	path_of(config, from, NULL, old);
	path_of(config, to, NULL, new);
	if (!rename(old, new))
		return 0;
	error = -errno;
	log_error("%s: cannot be renamed to %s: %s", old, new, strerror(-error));
	return error;
}

bool bpffs_other_layout(const struct config *config, char name[NAME_SIZE])
{
	DIR *directory = opendir(config->pin_path);
	struct dirent *entry;
	bool found = false;

	while (directory && !found && (entry = readdir(directory))) {
		if (entry->d_name[0] != 'v' || !strcmp(entry->d_name, LAYOUT_DIRECTORY) ||
		    !strcmp(entry->d_name, BPFFS_NEW))
			continue;
		snprintf(name, NAME_SIZE, "%.31s", entry->d_name);
		found = true;
	}
	if (directory)
		closedir(directory);
	return found;
}

int bpffs_pin(const struct config *config, const char *directory, const char *kind,
	      const char *name, int fd)
{
	char path[PATH_SIZE];
	int error;

	bpffs_path(config, directory, kind, name, path);
	error = bpf_obj_pin(fd, path);
	if (error)
		log_error("%s: cannot be pinned: %s", path, strerror(-error));
	return error;
}

/* ------------------------------------------------------------------------------------------
 * removal */

static __u32 id_of(int fd, enum kind kind)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info program;
		struct bpf_link_info link;
	} info;
	__u32 length = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return 0;
	return kind == KIND_MAP	      ? info.map.id
	       : kind == KIND_PROGRAM ? info.program.id
				      : info.link.id;
}

static bool is_gone(const struct pinned *pinned)
{
	int fd = pinned->kind == KIND_MAP	? bpf_map_get_fd_by_id(pinned->id)
		 : pinned->kind == KIND_PROGRAM ? bpf_prog_get_fd_by_id(pinned->id)
						: bpf_link_get_fd_by_id(pinned->id);

	if (fd >= 0)
		close(fd);
	return fd == -ENOENT;
}

/* Detach, remember the id, remove the pin. */
static void remove_pin(struct pins *pins, enum kind kind, const char *path, const char *name)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		if (kind == KIND_LINK)
			bpf_link_detach(fd); /* tracing links end with their last reference */
		if (pins->count < MAX_PINS) {
			struct pinned *pinned = &pins->pin[pins->count++];

			pinned->kind = kind;
			pinned->id = id_of(fd, kind);
			snprintf(pinned->name, sizeof(pinned->name), "%.63s", name);
		}
		close(fd);
	}
	if (unlink(path))
		log_warning("%s: cannot be removed: %s", path, strerror(errno));
}

/* The kernel lets go of what is no longer pinned a little later. */
static int wait_until_gone(struct pins *pins)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

	for (int waited = 0; pins->count && waited < GONE_MS; waited += POLL_MS) {
		while (pins->count && is_gone(&pins->pin[pins->count - 1]))
			pins->count--;
		if (pins->count)
			nanosleep(&pause, NULL);
	}
	if (!pins->count)
		return 0;
	log_warning("%s (id %u) is not pinned any more, but another process still holds it "
		    "(see `bpftool map`, `bpftool prog`)",
		    pins->pin[pins->count - 1].name, pins->pin[pins->count - 1].id);
	return -EBUSY;
}

static void remove_kind(struct pins *pins, const char *path, enum kind kind)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char pin[PATH_SIZE + 300];

	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(pin, sizeof(pin), "%s/%s", path, entry->d_name);
		remove_pin(pins, kind, pin, entry->d_name);
	}
	if (directory)
		closedir(directory);
	if (rmdir(path) && errno != ENOENT)
		log_warning("%s: cannot be removed: %s", path, strerror(errno));
}

int bpffs_remove(const struct config *config, const char *directory)
{
	static struct pins pins;
	char path[PATH_SIZE];

	pins.count = 0;
	for (size_t i = 0; i < KINDS; i++) {
		path_of(config, directory, kinds[i].name, path);
		remove_kind(&pins, path, kinds[i].kind);
	}
	path_of(config, directory, NULL, path);
	if (rmdir(path) && errno != ENOENT) {
		int error = -errno;

		log_error("%s: cannot be removed: %s", path, strerror(-error));
		return error;
	}
	return wait_until_gone(&pins);
}

int bpffs_detach(const struct config *config, const char *directory, const char *name)
{
	static struct pins pins;
	char path[PATH_SIZE];

	pins.count = 0;
	bpffs_path(config, directory, "links", name, path);
	if (access(path, F_OK))
		return -errno;
	remove_pin(&pins, KIND_LINK, path, name);
	return wait_until_gone(&pins);
}

void bpffs_remove_path(const struct config *config)
{
	rmdir(config->pin_path);
}
