/* SPDX-License-Identifier: BSD-2-Clause */
/* processes.h - which process holds a socket, and a descriptor of our own for it (/proc, pidfd). */
#ifndef LIMPET_PROCESSES_H
#define LIMPET_PROCESSES_H

#include <stddef.h>
#include <stdint.h>

#define COMMAND_SIZE 16 /* the kernel's name of a process, with the NUL */

/* When the process was started, in clock ticks since boot: with the pid it names a process for
 * ever. 0: there is none, or it has exited. */
uint64_t process_start(uint32_t pid);
/* Its name ("nginx"), or "?" when it is gone; returns text. */
const char *process_command(uint32_t pid, char text[COMMAND_SIZE]);

struct socket_owner {
	uint32_t inode; /* of the socket; the caller's question */
	uint32_t pid;	/* 0: nobody holds it */
	uint64_t start;
	int fd; /* its number there */
};

/* Does this process hold these sockets? Answers those that have no owner yet. */
void process_find_sockets(uint32_t pid, struct socket_owner *owners, unsigned int count);
/* The same over all processes; of several that hold one socket, the oldest owns it: the master that
 * has forked the others. Costs about 0.3 ms a process. */
void processes_find_sockets(struct socket_owner *owners, unsigned int count);

/* A descriptor of ours for process `pid`'s `fd`, if it is the socket with this cookie; or -errno:
 * -EPERM when we may not, -ENOENT when it is gone or another. */
int process_take_socket(uint32_t pid, int fd, uint64_t cookie);

#endif
