/* SPDX-License-Identifier: BSD-2-Clause */
/* steering.h - which listeners are steered by our reuseport program, and which by another; and
 * which MSS was chosen for them. */
#ifndef LIMPET_STEERING_H
#define LIMPET_STEERING_H

#include <stdint.h>

struct steering;

/* Loads the iterator (bpf/steering.bpf.c). selector: our own program. NULL with a line in the log:
 * the kernel has no such iterator; nothing is then taken for foreign. */
struct steering *steering_new(int selector);
void steering_free(struct steering *steering);

/* Look at all listeners of this network namespace. 0 or -errno. Costs a look at each TCP socket
 * (about 0.1 ms for 1,000). */
int steering_read(struct steering *steering);
/* Who steered the listener when it was looked at last? */
enum steered_by { STEERED_BY_NOBODY, STEERED_BY_US, STEERED_BY_OTHERS };
enum steered_by steering_of(const struct steering *steering, uint64_t cookie);
/* The MSS that was chosen for it then; 0: none was. */
unsigned int steering_mss(const struct steering *steering, uint64_t cookie);

#endif
