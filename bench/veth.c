/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Throughput: one core makes packets and sends them to the node by veth; what comes back is
 * counted and dropped. Limpet is measured where `limpet load` has attached it, the rest on a second
 * pair of interfaces. All of it happens on one core, so a lighter program leaves more to the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <json-c/json.h>

#include <linux/if_link.h>

#include "parts.h"

#define BURST	    (1 << 18)
#define BATCH	    64
#define SECONDS	    0.5
#define MOST_ROUNDS 5

enum { BASELINE, FLOOR, LIMPET, FIRST_OTHER };
#define CANDIDATES (FIRST_OTHER + MAX_OTHERS)

static const char *const names[FIRST_OTHER] = {"tx", "floor", "limpet"};

struct throughput {
	struct bench *bench;
	int node, generator; /* namespaces */
	unsigned int own[2], peer[2];
	double mpps[CANDIDATES][MOST_ROUNDS];
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static int enter(int namespace)
{
	if (!setns(namespace, CLONE_NEWNET))
		return 0;
	fprintf(stderr, "bench: a network namespace cannot be entered: %s\n", strerror(errno));
	return -errno;
}

static int attach(unsigned int interface, int program)
{
	int error = bpf_xdp_attach((int)interface, program, XDP_FLAGS_DRV_MODE, NULL);

	if (error)
		fprintf(stderr, "bench: XDP cannot be attached to interface %u: %s\n", interface,
			strerror(-error));
	return error;
}

static int open_namespaces(struct throughput *run, int generator)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", generator);
	run->node = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	run->generator = open(path, O_RDONLY | O_CLOEXEC);
	if (run->node < 0 || run->generator < 0) {
		fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
		return -errno;
	}
	return 0;
}

static int find_interfaces(struct throughput *run)
{
	int error;

	run->own[0] = if_nametoindex(BENCH_INTERFACE);
	run->own[1] = if_nametoindex(BENCH_INTERFACE2);
	error = enter(run->generator);
	if (error)
		return error;
	run->peer[0] = if_nametoindex(BENCH_INTERFACE_PEER);
	run->peer[1] = if_nametoindex(BENCH_INTERFACE2_PEER);
	for (int i = 0; i < 2 && !error; i++)
		error = attach(run->peer[i], measure_sink(run->bench->measure));
	return enter(run->node) ?: error;
}

static int send_burst(const struct throughput *run, const struct traffic *traffic)
{
	uint8_t frame[2048];
	LIBBPF_OPTS(bpf_test_run_opts, test, .data_in = frame, .data_size_in = traffic->length,
		    .repeat = BURST, .batch_size = BATCH, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	int error;

	traffic_frame(traffic, frame);
	measure_alone(true);
	error = bpf_prog_test_run_opts(measure_generator(run->bench->measure), &test);
	measure_alone(false);
	if (error)
		fprintf(stderr, "bench: packets cannot be sent: %s\n", strerror(-error));
	return error;
}

/* Packets a second that come back, in millions, after one burst to warm up. */
static int time_bursts(const struct throughput *run, const struct traffic *traffic, double *mpps)
{
	struct measure *measure = run->bench->measure;
	int error = send_burst(run, traffic);
	uint64_t arrived = measure_arrived(measure);
	double start = now_s(), end = start;

	while (!error && end - start < SECONDS) {
		error = send_burst(run, traffic);
		end = now_s();
	}
	*mpps = (double)(measure_arrived(measure) - arrived) / (end - start) / 1e6;
	return error;
}

static int run_candidate(struct throughput *run, const struct traffic *traffic, int candidate,
			 double *mpps)
{
	struct bench *bench = run->bench;
	int pair = candidate != LIMPET, error = 0;

	if (candidate == BASELINE)
		error = attach(run->own[1], floors_baseline(bench->floors));
	if (candidate == FLOOR)
		error = attach(run->own[1], floors_program(bench->floors, FLOOR_FORWARD));
	if (candidate >= FIRST_OTHER)
		error = attach(run->own[1], bench->others[candidate - FIRST_OTHER].program);
	if (!error)
		error = enter(run->generator);
	if (error)
		return error;
	measure_traffic(bench->measure, traffic, 777);
	measure_send_by(bench->measure, run->peer[pair]);
	error = time_bursts(run, traffic, mpps);
	return enter(run->node) ?: error;
}

/* The median of Limpet's share of another's, round by round. */
static double share(const struct throughput *run, unsigned int rounds, int of)
{
	double each[MOST_ROUNDS];

	for (unsigned int i = 0; i < rounds; i++)
		each[i] = run->mpps[LIMPET][i] / run->mpps[of][i];
	return median(each, rounds);
}

static void report_throughput(struct throughput *run, unsigned int rounds, const char *name,
			      struct json_object *report)
{
	const struct bench *bench = run->bench;
	struct json_object *to =
		report_member(report_member(report, "throughput", false), name, false);
	double of_tx = share(run, rounds, BASELINE), of_floor = share(run, rounds, FLOOR);

	printf("%-16s", name);
	report_number(to, "of_tx", of_tx, 3);
	report_number(to, "of_floor", of_floor, 3);
	for (unsigned int i = 0; i < bench->other_count; i++) {
		struct json_object *other = report_member(report_member(to, "against", false),
							  bench->others[i].name, false);

		report_number(other, "ratio", share(run, rounds, (int)(FIRST_OTHER + i)), 3);
		report_number(other, "mpps", median(run->mpps[FIRST_OTHER + i], rounds), 3);
	}
	for (int i = 0; i < FIRST_OTHER; i++) {
		double middle = median(run->mpps[i], rounds);

		printf(" %8.3f", middle);
		report_number(to, names[i], middle, 3);
	}
	printf(" %10.2f %10.2f", of_tx, of_floor);
	for (unsigned int i = 0; i < bench->other_count; i++)
		printf("  %8.3f", run->mpps[FIRST_OTHER + i][rounds / 2]);
	printf("\n");
}

static int run_flows(struct throughput *run, const char *name, const char *like,
		     struct json_object *report)
{
	unsigned int rounds = run->bench->rounds < MOST_ROUNDS ? run->bench->rounds : MOST_ROUNDS;
	const struct bench_case *wanted = NULL;
	int error = -ENOENT, candidates = (int)(FIRST_OTHER + run->bench->other_count);

	for (unsigned int i = 0; i < bench_case_count; i++)
		if (!strcmp(bench_cases[i].name, like))
			wanted = &bench_cases[i];
	if (wanted)
		error = rounds_set_up(run->bench, wanted);
	for (unsigned int round = 0; round < rounds && !error; round++)
		for (int i = 0; i < candidates && !error; i++)
			error = run_candidate(run, &wanted->traffic, i, &run->mpps[i][round]);
	if (!error)
		report_throughput(run, rounds, name, report);
	return error;
}

int veth_run(struct bench *bench, struct json_object *report, const struct veth_options *options)
{
	struct throughput run = {.bench = bench, .node = -1, .generator = -1};
	int error = open_namespaces(&run, options->generator);

	if (!error)
		error = find_interfaces(&run);
	printf("\none core, veth, Mpps:\n%-16s %8s %8s %8s %10s %10s", "flows", "tx", "floor",
	       "limpet", "of tx", "of floor");
	for (unsigned int i = 0; i < bench->other_count; i++)
		printf("  %8.8s", bench->others[i].name);
	printf("\n");
	if (!error)
		error = run_flows(&run, "v4_1", "v4_ack_1", report);
	if (!error)
		error = run_flows(&run, "v4_1m", "v4_ack_1m", report);
	if (run.generator >= 0)
		close(run.generator);
	if (run.node >= 0)
		close(run.node);
	return error;
}
