/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pass.bpf.c - passes every frame. The lab puts it on the switch's end of a node's link: a veth
 * takes what XDP sends out (XDP_TX, redirects) only if its other end has an XDP program itself.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int lab_pass(struct xdp_md *context)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
