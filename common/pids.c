/* SPDX-License-Identifier: BSD-2-Clause */
#include "pids.h"

#include <sys/stat.h>

#define FIRST_NAMESPACE 0xeffffffcU /* the kernel's PROC_PID_INIT_INO */

bool pids_are_the_machines(void)
{
	struct stat status;

	return stat("/proc/self/ns/pid", &status) || status.st_ino == FIRST_NAMESPACE;
}
