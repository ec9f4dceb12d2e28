/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c - the benchmark; started by bench/run, which gives it a machine of its own to play on. */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <json-c/json.h>

#include "parts.h"

#define DEFAULT_ROUNDS	7
#define DEFAULT_PACKETS 262144

struct options {
	struct stage_options stage;
	struct veth_options veth;
	const char *json, *cases, *others[MAX_OTHERS];
	unsigned int other_count, rounds;
	uint32_t packets;
	int cpu;
	bool list, part[PARTS];
};

enum { OPTION_LIMPET = 256, OPTION_DIRECTORY, OPTION_CGROUP, OPTION_GENERATOR };

static const struct option long_options[] = {
	{"cases", required_argument, NULL, 'c'},
	{"rounds", required_argument, NULL, 'r'},
	{"packets", required_argument, NULL, 'n'},
	{"cpu", required_argument, NULL, 'p'},
	{"json", required_argument, NULL, 'j'},
	{"compare", required_argument, NULL, 'x'},
	{"list", no_argument, NULL, 'l'},
	{"help", no_argument, NULL, 'h'},
	{"growth", no_argument, NULL, 'g'},
	{"maglev", no_argument, NULL, 'm'},
	{"throughput", no_argument, NULL, 't'},
	/* bench/run's */
	{"limpet", required_argument, NULL, OPTION_LIMPET},
	{"directory", required_argument, NULL, OPTION_DIRECTORY},
	{"cgroup", required_argument, NULL, OPTION_CGROUP},
	{"generator", required_argument, NULL, OPTION_GENERATOR},
	{NULL, 0, NULL, 0},
};

static void usage(FILE *file)
{
	fprintf(file,
		"usage: bench/run [OPTION...]\n"
		"Without --cases, --growth, --maglev, --throughput: all of them but --growth.\n"
		"  --cases PATTERN,...  these cases (bench/run --list)\n"
		"  --growth             ns per packet over services, targets, flows, affinities;\n"
		"                       with --cases: series of these names\n"
		"  --maglev             the consistent hash: time to build, slots that move\n"
		"  --throughput         packets a second of one core, over veth\n"
		"  --rounds N           default %d\n"
		"  --packets N          in one measurement, default %d\n"
		"  --cpu N              to run on; default: the last one\n"
		"  --json FILE          the results; default: build/bench.json\n"
		"  --compare NAME=PIN   beside another pinned XDP program that balances the\n"
		"                       services of bench/traffic.h\n",
		DEFAULT_ROUNDS, DEFAULT_PACKETS);
}

static bool read_number(const char *text, unsigned long least, unsigned long most,
			unsigned long *number)
{
	char *end;

	errno = 0;
	*number = strtoul(text, &end, 10);
	if (!errno && end != text && !*end && *number >= least && *number <= most)
		return true;
	fprintf(stderr, "bench: '%s' is not a number from %lu to %lu\n", text, least, most);
	return false;
}

static bool read_option(struct options *options, int option)
{
	unsigned long number = 0;

	switch (option) {
	case 'c':
		options->cases = optarg;
		return true;
	case 'r':
		if (!read_number(optarg, 1, MAX_ROUNDS, &number))
			return false;
		options->rounds = number;
		return true;
	case 'n':
		if (!read_number(optarg, 1 << MEASURE_CHUNK_LOG, 1 << 23, &number))
			return false;
		options->packets = number;
		return true;
	case 'p':
		if (!read_number(optarg, 0, sysconf(_SC_NPROCESSORS_ONLN) - 1, &number))
			return false;
		options->cpu = (int)number;
		return true;
	case 'j':
		options->json = optarg;
		return true;
	case 'x':
		if (options->other_count == MAX_OTHERS) {
			fprintf(stderr, "bench: --compare: %d at most\n", MAX_OTHERS);
			return false;
		}
		options->others[options->other_count++] = optarg;
		return true;
	case 'l':
		options->list = true;
		return true;
	case 'g':
		options->part[PART_GROWTH] = true;
		return true;
	case 'm':
		options->part[PART_MAGLEV] = true;
		return true;
	case 't':
		options->part[PART_THROUGHPUT] = true;
		return true;
	default:
		return false;
	}
}

static bool read_place(struct options *options, int option)
{
	switch (option) {
	case OPTION_LIMPET:
		options->stage.limpet = optarg;
		return true;
	case OPTION_DIRECTORY:
		options->stage.directory = optarg;
		return true;
	case OPTION_CGROUP:
		options->stage.cgroup = optarg;
		return true;
	case OPTION_GENERATOR:
		options->veth.generator = atoi(optarg);
		return true;
	default:
		return false;
	}
}

static bool read_options(struct options *options, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h') {
			usage(stdout);
			exit(0);
		}
		if (!read_place(options, option) && !read_option(options, option)) {
			fprintf(stderr, "bench/run --help tells what there is\n");
			return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bench: unknown argument '%s'\n", argv[optind]);
		return false;
	}
	if (options->cases && !options->part[PART_GROWTH])
		options->part[PART_CASES] = true;
	if (!options->cases && !options->part[PART_GROWTH] && !options->part[PART_MAGLEV] &&
	    !options->part[PART_THROUGHPUT])
		options->part[PART_CASES] = options->part[PART_MAGLEV] =
			options->part[PART_THROUGHPUT] = true;
	return true;
}

/* Does a pattern of the list match? */
static bool is_wanted(const char *patterns, const char *name)
{
	char *copy = strdup(patterns ? patterns : "*"), *rest = copy, *pattern;
	bool wanted = false;

	while ((pattern = strsep(&rest, ",")))
		wanted |= !fnmatch(pattern, name, 0);
	free(copy);
	return wanted;
}

static void list(void)
{
	for (unsigned int i = 0; i < bench_case_count; i++)
		printf("%-18s %s\n", bench_cases[i].name, bench_cases[i].text);
	for (unsigned int i = 0; i < bench_series_count; i++)
		printf("%-18s --growth: %s\n", bench_series[i].name, bench_series[i].text);
}

/* NAME=PIN */
static int open_others(struct bench *bench, const struct options *options)
{
	for (unsigned int i = 0; i < options->other_count; i++) {
		char *name = strdup(options->others[i]), *pin = strchr(name, '=');
		int program;

		if (!pin) {
			fprintf(stderr, "bench: --compare %s: NAME=PIN is wanted\n", name);
			return -EINVAL;
		}
		*pin++ = '\0';
		program = bpf_obj_get(pin);
		if (program < 0) {
			fprintf(stderr, "bench: %s: %s\n", pin, strerror(-program));
			return program;
		}
		bench->others[bench->other_count++] = (struct other){name, program};
	}
	return 0;
}

static int run_cases(struct bench *bench, struct json_object *report, const char *patterns)
{
	unsigned int found = 0;

	report_heading(bench, "case", true);
	for (unsigned int i = 0; i < bench_case_count; i++) {
		const struct bench_case *wanted = &bench_cases[i];
		struct result result = {0};
		int error;

		if (!is_wanted(patterns, wanted->name))
			continue;
		found++;
		error = rounds_run(bench, wanted, &result);
		if (error)
			return error;
		report_case(report, bench, wanted, &result);
	}
	if (found)
		return 0;
	fprintf(stderr, "bench: no case is called %s; bench/run --list\n", patterns);
	return -ENOENT;
}

static int run_series(struct bench *bench, struct json_object *report,
		      const struct bench_series *series)
{
	for (unsigned int i = 0; i < series->count; i++) {
		struct bench_case made;
		struct result result = {0};
		int error;

		series->make(series->steps[i], &made);
		made.name = series->name;
		error = rounds_run(bench, &made, &result);
		if (error)
			return error;
		report_step(report, series, series->steps[i], &result);
	}
	return 0;
}

static int run_growth(struct bench *bench, struct json_object *report, const char *patterns)
{
	int error = 0;

	report_heading(bench, "growth", false);
	for (unsigned int i = 0; i < bench_series_count && !error; i++)
		if (is_wanted(patterns, bench_series[i].name))
			error = run_series(bench, report, &bench_series[i]);
	return error;
}

static int run_parts(struct bench *bench, struct json_object *report, const struct options *options)
{
	int error = 0;

	if (options->part[PART_MAGLEV])
		error = maglev_run(report);
	if (options->part[PART_CASES] && !error)
		error = run_cases(bench, report, options->cases);
	if (options->part[PART_THROUGHPUT] && !error)
		error = veth_run(bench, report, &options->veth);
	if (options->part[PART_GROWTH] && !error)
		error = run_growth(bench, report, options->cases);
	return error;
}

/* What is wrong with an object is worth a line; how libbpf loads it is not. */
static int print_warnings(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

int main(int argc, char **argv)
{
	struct options options = {.rounds = DEFAULT_ROUNDS,
				  .packets = DEFAULT_PACKETS,
				  .cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1,
				  .stage.interface = BENCH_INTERFACE};
	struct bench bench = {0};
	struct json_object *report;
	int error;

	if (!read_options(&options, argc, argv))
		return 2;
	if (options.list) {
		list();
		return 0;
	}
	libbpf_set_print(print_warnings);
	bench.rounds = options.rounds;
	bench.packets = options.packets;
	report = report_new();
	error = stage_new(&bench.stage, &options.stage);
	if (!error)
		error = measure_new(&bench.measure, options.cpu, if_nametoindex(BENCH_INTERFACE));
	if (!error)
		error = open_others(&bench, &options);
	if (!error)
		error = run_parts(&bench, report, &options);
	if (!error && options.json)
		error = report_write(report, options.json);
	floors_free(bench.floors);
	measure_free(bench.measure);
	stage_free(bench.stage);
	json_object_put(report);
	return error ? 1 : 0;
}
