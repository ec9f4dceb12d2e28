/* SPDX-License-Identifier: BSD-2-Clause */
#include "measure.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "wrap.skel.h"

#define MAX_FRAME 2048

struct measure {
	struct wrap_bpf *wrap;
	struct wrap_control *control;
	unsigned int interface;
	uint8_t frame[MAX_FRAME], result[MAX_FRAME];
	unsigned int length;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int pin_to(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus)) {
		fprintf(stderr, "bench: cannot run on CPU %d: %s\n", cpu, strerror(errno));
		return -errno;
	}
	return 0;
}

void measure_alone(bool alone)
{
	struct sched_param parameter = {.sched_priority = alone ? 1 : 0};

	sched_setscheduler(0, alone ? SCHED_FIFO : SCHED_OTHER, &parameter);
}

int measure_new(struct measure **measure, int cpu, unsigned int interface)
{
	struct measure *new = calloc(1, sizeof(*new));
	int error;

	if (!new)
		return -ENOMEM;
	new->interface = interface;
	error = pin_to(cpu);
	if (!error) {
		new->wrap = wrap_bpf__open_and_load();
		error = new->wrap ? 0 : -errno;
		if (error)
			fprintf(stderr, "bench: the wrapper cannot be loaded: %s\n",
				strerror(-error));
	}
	if (error) {
		measure_free(new);
		return error;
	}
	new->control = &new->wrap->data_control->control;
	*measure = new;
	return 0;
}

void measure_free(struct measure *measure)
{
	if (!measure)
		return;
	wrap_bpf__destroy(measure->wrap);
	free(measure);
}

void measure_traffic(struct measure *measure, const struct traffic *traffic, uint64_t start)
{
	struct wrap_control *control = measure->control;
	bool has_flows = traffic->kind == PACKET_ACK || traffic->kind == PACKET_SYN ||
			 traffic->kind == PACKET_OTHER;

	measure->length = traffic->length;
	traffic_frame(traffic, measure->frame);
	memcpy(control->head, measure->frame, sizeof(control->head));
	control->length = traffic->length;
	control->restore = traffic->length >= WRAP_HEAD ? WRAP_HEAD : 64;
	control->family = has_flows ? (uint32_t)traffic->family : 0;
	control->order = traffic->order;
	control->flows = traffic->flows ? traffic->flows : 1;
	control->base = traffic->base;
	control->services = traffic->services ? traffic->services : 1;
	control->fresh = traffic->fresh;
	control->chunk_shift = traffic->chunk_log ? traffic->chunk_log : MEASURE_CHUNK_LOG;
	control->next = start;
}

uint64_t measure_position(const struct measure *measure)
{
	return measure->control->next;
}

int measure_pass(struct measure *measure, int program, uint32_t packets, uint32_t *verdict)
{
	struct wrap_control *control = measure->control;
	struct xdp_md context = {.data_end = measure->length,
				 .ingress_ifindex = measure->interface};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = measure->frame,
		    .data_size_in = measure->length, .data_out = measure->result,
		    .data_size_out = sizeof(measure->result), .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = (int)packets);
	int tested = bpf_map__fd(measure->wrap->maps.tested);
	int error = bpf_map_update_elem(tested, &(__u32){0}, &program, BPF_ANY);

	if (error) {
		fprintf(stderr, "bench: the program cannot be called: %s\n", strerror(-error));
		return error;
	}
	control->packets = 0;
	control->failed = 0;
	measure_alone(true);
	error = bpf_prog_test_run_opts(bpf_program__fd(measure->wrap->progs.wrap), &run);
	measure_alone(false);
	/* Hold nothing that somebody wants to unload. */
	bpf_map_delete_elem(tested, &(__u32){0});
	if (error) {
		fprintf(stderr, "bench: BPF_PROG_TEST_RUN: %s\n", strerror(-error));
		return error;
	}
	if (control->failed) {
		fprintf(stderr, "bench: %llu packets could not be restored\n", control->failed);
		return -EIO;
	}
	if (verdict)
		*verdict = run.retval;
	return 0;
}

static uint32_t chunks_of(uint32_t packets, unsigned int shift, uint32_t most)
{
	uint32_t chunks = packets >> shift;

	return chunks > most ? most : chunks;
}

int measure_time(struct measure *measure, int program, uint32_t warm, uint32_t packets,
		 uint32_t *verdict, double *ns)
{
	const struct wrap_control *control = measure->control;
	unsigned int shift = control->chunk_shift;
	uint32_t first = chunks_of(warm, shift, WRAP_STAMPS / 2);
	uint32_t chunks = chunks_of(packets, shift, WRAP_STAMPS / 2 - 1);
	double each[WRAP_STAMPS];
	int error;

	if (!chunks)
		chunks = 1;
	/* The stamp that ends the last chunk comes with one packet more. */
	error = measure_pass(measure, program, ((first + chunks) << shift) + 1, verdict);
	if (error)
		return error;
	for (uint32_t i = 0; i < chunks; i++) {
		const __u64 *stamp = &control->stamp[first + i];

		each[i] = (double)(stamp[1] - stamp[0]) / (1 << shift);
	}
	*ns = median(each, chunks);
	return 0;
}

int measure_generator(const struct measure *measure)
{
	return bpf_program__fd(measure->wrap->progs.generate);
}

int measure_sink(const struct measure *measure)
{
	return bpf_program__fd(measure->wrap->progs.sink);
}

void measure_send_by(struct measure *measure, unsigned int interface)
{
	measure->control->out = interface;
}

uint64_t measure_arrived(const struct measure *measure)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *each = calloc(cpus, sizeof(*each)), sum = 0;

	if (!each)
		return 0;
	if (!bpf_map_lookup_elem(bpf_map__fd(measure->wrap->maps.arrived), &(__u32){0}, each))
		for (int i = 0; i < cpus; i++)
			sum += each[i];
	free(each);
	return sum;
}
