/* SPDX-License-Identifier: BSD-2-Clause */
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define PATH_SIZE 4096

static const struct {
	const char *name; /* with slashes, below /proc/sys */
	int value;	  /* at least */
} sysctls[] = {
	{"net/ipv4/conf/all/arp_ignore", 1},
	{"net/ipv4/conf/all/arp_announce", 2},
};

#define SYSCTLS (sizeof(sysctls) / sizeof(*sysctls))

static int read_sysctl(const char *name, int *value)
{
	char path[PATH_SIZE];
	int found, error;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	file = fopen(path, "re");
	if (!file) {
		error = -errno;
		log_error("%s: cannot be read: %s", path, strerror(-error));
		return error;
	}
	found = fscanf(file, "%d", value);
	fclose(file);
	return found == 1 ? 0 : -EIO;
}

static int write_sysctl(const char *name, int value)
{
	char path[PATH_SIZE];
	int fd, error = 0;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d\n", value) < 0) {
		error = -errno;
		log_error("%s: cannot be set to %d: %s", path, value, strerror(-error));
	}
	if (fd >= 0)
		close(fd);
	return error;
}

static void undo_path(const struct config *config, const char *suffix, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/undo%s", config->runtime_directory, suffix);
}

/* Whole or not at all. */
static int write_file(const struct config *config, const int former[SYSCTLS])
{
	char path[PATH_SIZE], new[PATH_SIZE];
	int error = 0;
	FILE *file;

	undo_path(config, "", path);
	undo_path(config, ".new", new);
	if (mkdir(config->runtime_directory, 0755) && errno != EEXIST) {
		error = -errno;
		log_error("runtime_directory %s: cannot be made: %s", config->runtime_directory,
			  strerror(-error));
		return error;
	}
	file = fopen(new, "we");
	if (file) {
		for (size_t i = 0; i < SYSCTLS; i++)
			fprintf(file, "%s %d\n", sysctls[i].name, former[i]);
		error = fflush(file) || fsync(fileno(file)) ? -errno : 0;
		if (fclose(file) && !error)
			error = -errno;
		if (!error && rename(new, path))
			error = -errno;
	} else {
		error = -errno;
	}
	if (error) {
		log_error("%s: cannot be written: %s; it keeps what unload puts back", path,
			  strerror(-error));
		unlink(new);
	}
	return error;
}

int undo_prepare(const struct config *config)
{
	char path[PATH_SIZE];
	int former[SYSCTLS];
	int error = 0;

	undo_path(config, "", path);
	for (size_t i = 0; i < SYSCTLS && !error; i++)
		error = read_sysctl(sysctls[i].name, &former[i]);
	if (!error && access(path, F_OK))
		error = write_file(config, former);
	for (size_t i = 0; i < SYSCTLS && !error; i++)
		if (former[i] < sysctls[i].value)
			error = write_sysctl(sysctls[i].name, sysctls[i].value);
	return error;
}

/* One line of the file: put the value back unless somebody has set another since. */
static int restore(const char *name, int former)
{
	for (size_t i = 0; i < SYSCTLS; i++) {
		int present, error;

		if (strcmp(sysctls[i].name, name))
			continue;
		error = read_sysctl(name, &present);
		if (error || present == former)
			return error;
		if (present == sysctls[i].value)
			return write_sysctl(name, former);
		log_warning("%s is %d, set by somebody else since `limpet load`: left as it is",
			    name, present);
		return 0;
	}
	return 0;
}

int undo_restore(const struct config *config)
{
	char path[PATH_SIZE], name[128];
	int former, error = 0;
	FILE *file;

	undo_path(config, "", path);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fscanf(file, "%127s %d", name, &former) == 2) {
		int failed = restore(name, former);

		if (failed)
			error = failed;
	}
	fclose(file);
	if (!error)
		unlink(path);
	return error;
}
