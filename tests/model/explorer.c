/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explorer.c - draws what happens next in a small cluster (world.h), and after each step looks
 * whether a promise is broken (promises.c). A seed gives the same history again (history.h). See
 * README.
 *
 *   explorer [--runs N] [--first SEED] [--steps N]   many histories; stops at the first violation,
 *                                                    and prints it made as short as it can be
 *   explorer --seed N [--trace]                      one of them; step by step
 *   explorer --all                                   does not stop, counts
 *
 * A third of the runs each: one active router of two with continuous synchronisation, the same with
 * synchronisation on failure, and two active routers (ECMP).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "history.h"
#include "world.h"

struct order {
	unsigned long runs, steps;
	uint64_t first;
	bool trace, all;
};

static void show(struct history *history)
{
	printf("seed %llu: %s\n", (unsigned long long)history->seed, world.violation);
	if (history->trace) /* it has been printed */
		return;
	history_shorten(history);
	printf("made short: %s\n", world.violation);
	history_print();
	free(history->left_out);
}

static void sum_up(unsigned long runs, unsigned long failed, const struct statistics *s)
{
	printf("%lu runs, %lu steps, %lu sessions, %lu packets (%lu dropped, %lu refused)\n", runs,
	       s->steps, s->sessions, s->packets, s->dropped, s->refused);
	printf("%lu affinities in force everywhere, %lu lost to another; %lu digests differed\n",
	       s->published, s->lost, s->resyncs);
	printf("known residue: %lu handshakes broken, %lu affinities late, %lu with two active "
	       "routers, %lu guesses without an agent, %lu at remnants, %lu at stale "
	       "entries, %lu after hold_time, %lu of the dead, %lu before activation\n",
	       s->handshakes_broken, s->late_affinity, s->ecmp_stale, s->blind_guess, s->remnant,
	       s->stale_entry, s->hold_over, s->given_up, s->early);
	printf("%lu violations\n", failed);
}

static int explore(const struct order *order)
{
	struct statistics statistics = {0};
	unsigned long runs = 0, failed = 0;

	while (runs < order->runs && (order->all || !failed)) {
		struct history history = {.seed = order->first + runs++,
					  .steps = order->steps,
					  .trace = order->trace};

		if (!history_run(&history, &statistics))
			continue;
		failed++;
		if (order->all)
			printf("seed %llu: %s\n", (unsigned long long)history.seed,
			       world.violation);
		else
			show(&history);
	}
	sum_up(runs, failed, &statistics);
	return failed != 0;
}

static unsigned long long number(const char *option, const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (!errno && end != text && !*end && *text != '-')
		return value;
	fprintf(stderr, "explorer: --%s %s: not a number\n", option, text);
	exit(2);
}

static struct order parse(int argc, char **argv)
{
	static const struct option options[] = {{"runs", required_argument, NULL, 'n'},
						{"first", required_argument, NULL, 'f'},
						{"steps", required_argument, NULL, 'm'},
						{"seed", required_argument, NULL, 's'},
						{"trace", no_argument, NULL, 't'},
						{"all", no_argument, NULL, 'a'},
						{NULL, 0, NULL, 0}};
	struct order order = {.runs = 1000, .steps = 400};
	int option, index;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (option == 'n')
			order.runs = number("runs", optarg);
		else if (option == 'm')
			order.steps = number("steps", optarg);
		else if (option == 'f' || option == 's')
			order.first = number(options[index].name, optarg);
		else if (option == 't')
			order.trace = true;
		else if (option == 'a')
			order.all = true;
		else
			exit(2);
		if (option == 's')
			order.runs = 1;
	}
	if (optind == argc)
		return order;
	fprintf(stderr, "explorer: what is %s? see tests/model/README\n", argv[optind]);
	exit(2);
}

int main(int argc, char **argv)
{
	const struct order order = parse(argc, argv);

	return explore(&order);
}
