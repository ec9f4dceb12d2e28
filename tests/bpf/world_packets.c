/* SPDX-License-Identifier: BSD-2-Clause */
/* world_packets.c - a packet, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "world.h"
#include "world_parts.h"
#include "xdp.skel.h"

static const char *const counter_names[] = {
#define LIMPET_COUNTER_NAME(name, text) #name,
	LIMPET_COUNTERS(LIMPET_COUNTER_NAME)
#undef LIMPET_COUNTER_NAME
};

static void get_counters(uint64_t sums[COUNTERS])
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values = calloc(cpus, sizeof(*values));

	assert_non_null(values);
	for (uint32_t i = 0; i < COUNTERS; i++) {
		assert_true(get(program->maps.counters, &i, values));
		sums[i] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[i] += values[cpu];
	}
	free(values);
}

uint32_t run_packet(const struct frame *in, struct frame *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->byte, .data_size_in = in->length,
		    .data_out = out->byte, .data_size_out = sizeof(out->byte), .repeat = 1);

	world_stand_still();
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program->progs.xdp_limpet), &run),
			 0);
	world_stood_still();
	out->length = run.data_size_out;
	return run.retval;
}

void run_packets(const struct frame *in, int times)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->byte, .data_size_in = in->length);

	while (times--)
		bpf_prog_test_run_opts(bpf_program__fd(program->progs.xdp_limpet), &run);
}

static void print_frame(const char *what, const struct frame *frame)
{
	print_error("  %s, %u bytes:", what, frame->length);
	for (uint32_t i = 0; i < frame->length && i < 160; i++)
		print_error("%s%02x", i % 32 ? i % 4 ? "" : " " : "\n    ", frame->byte[i]);
	print_error("\n");
}

static bool same_frame(const struct frame *want, const struct frame *got)
{
	if (!want || (want->length == got->length && !memcmp(want->byte, got->byte, want->length)))
		return true;
	print_frame("expected", want);
	print_frame("came out", got);
	return false;
}

static bool same_counters(const uint64_t before[COUNTERS], const uint64_t after[COUNTERS],
			  const enum counter *counted)
{
	uint64_t want[COUNTERS] = {[COUNT_RX_PACKETS] = 1};
	bool same = true;

	for (; *counted != COUNTERS; counted++)
		want[*counted]++;
	for (int i = 0; i < COUNTERS; i++) {
		if (after[i] - before[i] == want[i])
			continue;
		print_error("  counter %s: %llu instead of %llu\n", counter_names[i],
			    (unsigned long long)(after[i] - before[i]),
			    (unsigned long long)want[i]);
		same = false;
	}
	return same;
}

void expect_packet(const char *file, int line, const char *what, const struct frame *in,
		   uint32_t verdict, const struct frame *out, const enum counter *counted)
{
	uint64_t before[COUNTERS], after[COUNTERS];
	struct frame got = {0};
	uint32_t retval;
	bool right;

	get_counters(before);
	retval = run_packet(in, &got);
	get_counters(after);
	right = retval == verdict;
	if (!right)
		print_error("  verdict %u instead of %u\n", retval, verdict);
	right = same_frame(out, &got) && right;
	right = same_counters(before, after, counted) && right;
	if (right)
		return;
	print_error("%s\n", what);
	_fail(file, line);
}
