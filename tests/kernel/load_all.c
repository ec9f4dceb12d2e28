// SPDX-License-Identifier: BSD-2-Clause
/*
 * load_all.c - load every BPF object that it is given, sharing maps as `limpet load` does, and
 * attach every program to something harmless. One line a program; exits 0 only if all went well.
 *
 * As process 1 of a virtual machine (scripts/test-kernel) it first mounts what it needs, loads
 * the kernel modules in /modules, takes the objects in /objects, then runs the programs in /tests,
 * and powers the machine off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "layout.h"

#define MAX_SHARED    128
#define TABLE_ENTRIES 1024
#define CGROUP	      "/cgroup"
#define VERIFIER_LOG  (1 << 20)

/* Maps of earlier objects, found again by name and shape: the roles share some names. */
static struct shared {
	const char *name;
	__u32 type, value_size;
	int fd;
} shared[MAX_SHARED];
static unsigned int shared_count;

static char verifier_log[VERIFIER_LOG];

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level != LIBBPF_WARN)
		return 0;
	return vfprintf(stderr, format, arguments);
}

static int share_map(struct bpf_map *map)
{
	for (unsigned int i = 0; i < shared_count; i++) {
		if (!strcmp(shared[i].name, bpf_map__name(map)) &&
		    shared[i].type == bpf_map__type(map) &&
		    shared[i].value_size == bpf_map__value_size(map))
			return bpf_map__reuse_fd(map, shared[i].fd);
	}
	if (bpf_map__max_entries(map) == 1 && bpf_map__type(map) != BPF_MAP_TYPE_ARRAY)
		return bpf_map__set_max_entries(map, TABLE_ENTRIES);
	return 0;
}

static void remember_map(const struct bpf_map *map)
{
	if (bpf_map__is_internal(map) || shared_count == MAX_SHARED)
		return;
	shared[shared_count++] = (struct shared){strdup(bpf_map__name(map)), bpf_map__type(map),
						 bpf_map__value_size(map), bpf_map__fd(map)};
}

static int attach_reuseport(const struct bpf_program *program)
{
	int program_fd = bpf_program__fd(program), one = 1, error = 0;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET};

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 1) ||
	    setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program_fd,
		       sizeof(program_fd)))
		error = -errno;
	if (listener >= 0)
		close(listener);
	return error;
}

static int attach_link(struct bpf_link *link)
{
	int error = libbpf_get_error(link);

	if (!error)
		bpf_link__destroy(link);
	return error;
}

/* The program for the agent knows no operation 0xffff, and says so. */
static int run_syscall(const struct bpf_program *program)
{
	struct {
		__u32 op;
		__s32 result;
		__u8 rest[248]; /* more than any takes */
	} call = {.op = 0xffff};
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &call, .ctx_size_in = sizeof(call));
	int error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);

	if (error)
		return error;
	return call.result == -EINVAL ? 0 : -EPROTO;
}

static int attach(const struct bpf_program *program, int cgroup)
{
	switch (bpf_program__type(program)) {
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SOCK_OPS:
		return attach_link(bpf_program__attach_cgroup(program, cgroup));
	case BPF_PROG_TYPE_XDP:
		return attach_link(bpf_program__attach_xdp(program, (int)if_nametoindex("lo")));
	case BPF_PROG_TYPE_SK_REUSEPORT:
		return attach_reuseport(program);
	case BPF_PROG_TYPE_SYSCALL:
		return run_syscall(program);
	default:
		return attach_link(bpf_program__attach(program));
	}
}

static int load_object(const char *path, int cgroup)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	struct bpf_map *map;
	int error = libbpf_get_error(object), failed = 0;

	if (error) {
		printf("%s: cannot be opened: %s\n", path, strerror(-error));
		return 1;
	}
	bpf_object__for_each_map (map, object) {
		error = share_map(map);
		if (error)
			printf("%s: map %s: %s\n", path, bpf_map__name(map), strerror(-error));
	}
	bpf_object__for_each_program (program, object)
		bpf_program__set_log_buf(program, verifier_log, sizeof(verifier_log));
	error = bpf_object__load(object);
	if (error) {
		printf("%s: NOT LOADED: %s\n%s\n", path, strerror(-error), verifier_log);
		return 1;
	}
	bpf_object__for_each_map (map, object)
		remember_map(map);
	bpf_object__for_each_program (program, object) {
		error = attach(program, cgroup);
		printf("%s: %s: loaded, %s%s\n", path, bpf_program__name(program),
		       error ? "NOT ATTACHED: " : "attached", error ? strerror(-error) : "");
		failed += error != 0;
	}
	/* The object stays open: its maps are shared with those that follow. */
	return failed;
}

static int load_all(char *const *paths, size_t count, const char *cgroup_path)
{
	int cgroup = open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed = 0;

	if (cgroup < 0) {
		printf("%s: %s\n", cgroup_path, strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		failed += load_object(paths[i], cgroup);
	close(cgroup);
	return failed;
}

static int run_test(const char *path)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	printf("%s: %s\n", path, status ? "FAILED" : "passed");
	return status != 0;
}

static void loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		printf("lo: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int failed = fd < 0 || syscall(SYS_finit_module, fd, "", 0);

	if (failed)
		printf("%s: FAILED: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return failed;
}

/* In the order of their names. */
static int for_each(const char *pattern, int (*what)(const char *path))
{
	int failed = 0;
	glob_t found;

	if (glob(pattern, 0, NULL, &found))
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++)
		failed += what(found.gl_pathv[i]);
	globfree(&found);
	return failed;
}

static int as_init(void)
{
	static const char *const mounts[][3] = {{"proc", "/proc", "proc"},
						{"sysfs", "/sys", "sysfs"},
						{"devtmpfs", "/dev", "devtmpfs"},
						{"bpf", "/sys/fs/bpf", "bpf"},
						{"cgroup2", CGROUP, "cgroup2"}};
	struct utsname name;
	int failed = 0;
	glob_t found;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0755);
		if (mount(mounts[i][0], mounts[i][1], mounts[i][2], 0, NULL))
			printf("%s: %s\n", mounts[i][1], strerror(errno));
	}
	loopback_up();
	setenv("PATH", "/bin", 1);
	uname(&name);
	printf("kernel: %s\n", name.release);
	failed += for_each("/modules/*", load_module);
	if (glob("/objects/*.bpf.o", 0, NULL, &found)) {
		printf("/objects: nothing to load\n");
		return 1;
	}
	failed += load_all(found.gl_pathv, found.gl_pathc, CGROUP);
	globfree(&found);
	return failed + for_each("/tests/*", run_test);
}

int main(int argc, char **argv)
{
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(quiet);
	if (getpid() != 1) {
		if (argc < 3) {
			fprintf(stderr, "usage: %s CGROUP OBJECT...\n", argv[0]);
			return 2;
		}
		return load_all(argv + 2, (size_t)argc - 2, argv[1]) ? 1 : 0;
	}
	failed = as_init();
	printf("result: %d failed\n", failed);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return failed;
}
