/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * measure.h - nanoseconds per packet of an XDP program, by BPF_PROG_TEST_RUN with the wrapper in
 * front (wrap.bpf.c). All functions return 0 or a negative errno, and say what was wrong.
 */
#ifndef LIMPET_BENCH_MEASURE_H
#define LIMPET_BENCH_MEASURE_H

#include <stddef.h>

#include "traffic.h"

#define MEASURE_CHUNK_LOG 14 /* packets between two stamps, when the traffic does not say */

struct measure;

/* On this CPU; packets come by the interface. */
int measure_new(struct measure **measure, int cpu, unsigned int interface);
void measure_free(struct measure *measure);

/* From now on these packets. Sequential flows go on from number `start`; random ones are the same
 * for the same `start`. */
void measure_traffic(struct measure *measure, const struct traffic *traffic, uint64_t start);
/* Where sequential flows have come to. */
uint64_t measure_position(const struct measure *measure);

/* So many packets through the program; its verdict on the last one. */
int measure_pass(struct measure *measure, int program, uint32_t packets, uint32_t *verdict);
/* The same, timed: ns per packet with the wrapper's own, the median over the chunks. `packets` are
 * rounded down to whole chunks, at least one; before them `warm` packets, rounded likewise, which
 * do not count. */
int measure_time(struct measure *measure, int program, uint32_t warm, uint32_t packets,
		 uint32_t *verdict, double *ns);

/* Nothing else runs on this CPU while it is measured: SCHED_FIFO, or back. Without the permission
 * to do so the result is noisier, not wrong. */
void measure_alone(bool alone);

/* For throughput: the wrapper's other programs, and where its settings are. */
int measure_generator(const struct measure *measure);
int measure_sink(const struct measure *measure);
void measure_send_by(struct measure *measure, unsigned int interface);
uint64_t measure_arrived(const struct measure *measure);

/* The middle one of the values, which are sorted; the mean of two when their number is even. */
double median(double *values, size_t count);

#endif
