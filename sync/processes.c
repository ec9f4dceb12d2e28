/* SPDX-License-Identifier: BSD-2-Clause */
#include "processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The whole of a small file of /proc, NUL-terminated: its length or -errno. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	if (length < 0)
		length = -errno;
	else
		text[length] = '\0';
	close(fd);
	return length;
}

uint64_t process_start(uint32_t pid)
{
	char path[64], text[1024], *field;
	unsigned int number;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return 0;
	/* The second field is the name in parentheses and may contain anything; proc(5): the start
	 * time is the 22nd. */
	field = strrchr(text, ')');
	if (!field || (field[1] && strchr("ZXx", field[2])))
		return 0; /* has exited, and waits for its parent */
	for (number = 2; field && number < 22; number++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field, NULL, 10) : 0;
}

const char *process_command(uint32_t pid, char text[COMMAND_SIZE])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	if (read_file(path, text, COMMAND_SIZE) <= 0)
		return strcpy(text, "?");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* "socket:[4711]": 4711; 0 for what is no socket. */
static uint32_t socket_inode(int directory, const char *name)
{
	char text[64];
	ssize_t length = readlinkat(directory, name, text, sizeof(text) - 1);

	if (length <= 0)
		return 0;
	text[length] = '\0';
	if (strncmp(text, "socket:[", 8))
		return 0;
	return strtoul(text + 8, NULL, 10);
}

static void note_owner(struct socket_owner *owner, uint32_t pid, uint64_t start, int fd)
{
	if (owner->pid == pid && owner->start == start) {
		if (fd < owner->fd)
			owner->fd = fd;
		return;
	}
	if (owner->pid && owner->start <= start)
		return;
	owner->pid = pid;
	owner->start = start;
	owner->fd = fd;
}

static void search_process(uint32_t pid, struct socket_owner *owners, unsigned int count)
{
	uint64_t start = process_start(pid);
	struct dirent *entry;
	char path[64];
	DIR *directory;

	if (!start)
		return;
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	directory = opendir(path);
	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		uint32_t inode;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		inode = socket_inode(dirfd(directory), entry->d_name);
		for (unsigned int i = 0; inode && i < count; i++)
			if (owners[i].inode == inode)
				note_owner(&owners[i], pid, start, atoi(entry->d_name));
	}
	closedir(directory);
}

void process_find_sockets(uint32_t pid, struct socket_owner *owners, unsigned int count)
{
	search_process(pid, owners, count);
}

void processes_find_sockets(struct socket_owner *owners, unsigned int count)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return;
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(strtoul(entry->d_name, NULL, 10), owners, count);
	closedir(proc);
}

static bool has_cookie(int fd, uint64_t cookie)
{
	uint64_t found = 0;
	socklen_t length = sizeof(found);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &found, &length) == 0 && found == cookie;
}

int process_take_socket(uint32_t pid, int fd, uint64_t cookie)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int ours;

	if (pidfd < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	ours = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (ours < 0) {
		ours = errno == EBADF || errno == ESRCH ? -ENOENT : -errno;
	} else if (!has_cookie(ours, cookie)) {
		close(ours);
		ours = -ENOENT;
	}
	close(pidfd);
	return ours;
}
