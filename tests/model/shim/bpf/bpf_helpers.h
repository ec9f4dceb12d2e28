/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf_helpers.h - for the explorer only, in place of libbpf's: bpf/choose.h runs in user space, on
 * the tables of the simulated router whose turn it is (forward.c). */
#ifndef LIMPET_SHIM_BPF_HELPERS_H
#define LIMPET_SHIM_BPF_HELPERS_H

#include <linux/types.h>

#define SEC(name)	     __attribute__((visibility("hidden"), unused))
#define __uint(name, value)  int(*name)[value]
#define __type(name, value)  __typeof__(value) *name
#define __array(name, value) __typeof__(value) *name[]

#undef __always_inline
#define __always_inline inline __attribute__((always_inline, unused))
#ifndef __noinline
#define __noinline __attribute__((noinline, unused))
#endif

void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags);
long bpf_map_delete_elem(void *map, const void *key);
__u64 bpf_ktime_get_ns(void);
__u64 bpf_jiffies64(void);

#define barrier_var(variable) asm volatile("" : "+r"(variable))

#endif
