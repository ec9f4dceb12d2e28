/* SPDX-License-Identifier: BSD-2-Clause */
#include "xdp.h"

#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "log.h"

/* The number of the program that is there; 0: none. */
static __u32 attached_program(unsigned int index)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	if (bpf_xdp_query((int)index, 0, &query))
		return 0;
	return query.drv_prog_id   ? query.drv_prog_id
	       : query.skb_prog_id ? query.skb_prog_id
				   : query.hw_prog_id;
}

/* Whose program is there? */
static void say_foreign(const char *interface, unsigned int index)
{
	struct bpf_prog_info info = {0};
	__u32 id = attached_program(index), length = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &length);
		close(fd);
	}
	log_error("%s: XDP program %s (id %u) is attached already; remove it (`ip link set %s xdp "
		  "off`, or `bpftool link detach` if it is a link's) and load again",
		  interface, info.name[0] ? info.name : "?", id, interface);
}

int xdp_check(const char *interface, unsigned int index)
{
	if (!attached_program(index))
		return 0;
	say_foreign(interface, index);
	return -EBUSY;
}

int xdp_attach(const char *interface, unsigned int index, int program)
{
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_link_create_opts, generic, .flags = XDP_FLAGS_SKB_MODE);
	int link = bpf_link_create(program, (int)index, BPF_XDP, &native);
	int why;

	if (link >= 0) {
		log_info("%s: native XDP", interface);
		return link;
	}
	why = link;
	if (why == -EBUSY || why == -EEXIST) {
		say_foreign(interface, index);
		return why;
	}
	link = bpf_link_create(program, (int)index, BPF_XDP, &generic);
	if (link == -EBUSY || link == -EEXIST) {
		say_foreign(interface, index);
		return link;
	}
	if (link < 0) {
		log_error("%s: XDP cannot be attached: native: %s, generic: %s", interface,
			  strerror(-why), strerror(-link));
		return link;
	}
	if (why == -EOPNOTSUPP)
		log_info("%s: generic XDP (driver has no native support)", interface);
	else
		log_info("%s: generic XDP (driver refuses native: %s)", interface, strerror(-why));
	log_info(
		"%s: generic XDP sees packets after GRO and LRO have merged them, which makes them "
		"too big to forward; on a router: ethtool -K %s gro off lro off",
		interface, interface);
	return link;
}
