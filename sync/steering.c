/* SPDX-License-Identifier: BSD-2-Clause */
#include "steering.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "layout.h"
#include "log.h"
#include "steering.skel.h"

struct steering {
	struct steering_bpf *skeleton;
	struct bpf_link *link;
	struct bpf_prog_info ours;
	struct found {
		uint64_t cookie;
		enum steered_by by;
		uint16_t mss;
	} * found; /* sorted by cookie */
	size_t count, room;
};

static int program_info(int fd, struct bpf_prog_info *info)
{
	__u32 length = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &length);
}

/* Ours, or what an earlier load of Limpet has left: that is replaced without a question. */
static bool is_ours(const struct steering *steering, __u32 program)
{
	struct bpf_prog_info info;
	bool same;
	int fd;

	if (program == steering->ours.id)
		return true;
	if (!program)
		return false;
	fd = bpf_prog_get_fd_by_id(program);
	if (fd < 0)
		return false;
	same = program_info(fd, &info) == 0 && info.type == steering->ours.type &&
	       strcmp(info.name, steering->ours.name) == 0;
	close(fd);
	return same;
}

static int remember(struct steering *steering, const struct steered *steered)
{
	if (steering->count == steering->room) {
		size_t room = steering->room ? steering->room * 2 : 16;
		struct found *more = realloc(steering->found, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		steering->found = more;
		steering->room = room;
	}
	steering->found[steering->count++] =
		(struct found){.cookie = steered->cookie,
			       .by = !steered->has_program		   ? STEERED_BY_NOBODY
				     : is_ours(steering, steered->program) ? STEERED_BY_US
									   : STEERED_BY_OTHERS,
			       .mss = steered->chosen_mss};
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct found *left = a, *right = b;

	return left->cookie < right->cookie ? -1 : left->cookie > right->cookie;
}

static int read_all(struct steering *steering, int iterator)
{
	struct steered steered[64];
	ssize_t length;
	int err;

	for (;;) {
		length = read(iterator, steered, sizeof(steered));
		if (length < 0 && errno == EAGAIN)
			continue; /* a million sockets without one for us: the kernel takes a breath
				   */
		if (length <= 0)
			return length < 0 ? -errno : 0;
		for (size_t i = 0; i < length / sizeof(steered[0]); i++) {
			err = remember(steering, &steered[i]);
			if (err)
				return err;
		}
	}
}

int steering_read(struct steering *steering)
{
	int iterator, err;

	steering->count = 0;
	iterator = bpf_iter_create(bpf_link__fd(steering->link));
	if (iterator < 0)
		return iterator;
	err = read_all(steering, iterator);
	close(iterator);
	if (steering->count)
		qsort(steering->found, steering->count, sizeof(*steering->found), compare);
	return err;
}

static const struct found *find(const struct steering *steering, uint64_t cookie)
{
	const struct found wanted = {.cookie = cookie};

	if (!steering->count)
		return NULL;
	return bsearch(&wanted, steering->found, steering->count, sizeof(wanted), compare);
}

enum steered_by steering_of(const struct steering *steering, uint64_t cookie)
{
	const struct found *at = find(steering, cookie);

	return at ? at->by : STEERED_BY_NOBODY;
}

unsigned int steering_mss(const struct steering *steering, uint64_t cookie)
{
	const struct found *at = find(steering, cookie);

	return at ? at->mss : 0;
}

struct steering *steering_new(int selector)
{
	struct steering *steering = calloc(1, sizeof(*steering));

	if (!steering)
		return NULL;
	if (program_info(selector, &steering->ours))
		goto failed;
	steering->skeleton = steering_bpf__open_and_load();
	if (!steering->skeleton)
		goto failed;
	steering->link = bpf_program__attach_iter(steering->skeleton->progs.steering, NULL);
	if (!steering->link)
		goto failed;
	return steering;
failed:
	log_warning("listeners that are steered by programs of their own cannot be told from "
		    "others here: %s; an application that attaches a reuseport program would lose "
		    "it to Limpet",
		    strerror(errno));
	steering_free(steering);
	return NULL;
}

void steering_free(struct steering *steering)
{
	if (!steering)
		return;
	bpf_link__destroy(steering->link);
	steering_bpf__destroy(steering->skeleton);
	free(steering->found);
	free(steering);
}
