/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring: shares, independence of order and numbers, little disruption, speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "maglev.h"

#define MOST 1000

static char names[MOST][NAME_SIZE];
static struct maglev_target targets[MOST];
static uint16_t slots[RING_SIZE], others[RING_SIZE];

static void make(size_t count, uint32_t weight)
{
	for (size_t i = 0; i < count; i++) {
		snprintf(names[i], NAME_SIZE, "t%zu", i);
		targets[i] = (struct maglev_target){(uint16_t)i, names[i], weight};
	}
}

static size_t slots_of(const uint16_t *ring, uint16_t number)
{
	size_t found = 0;

	for (size_t i = 0; i < RING_SIZE; i++)
		found += ring[i] == number;
	return found;
}

static size_t differences(void)
{
	size_t found = 0;

	for (size_t i = 0; i < RING_SIZE; i++)
		found += slots[i] != others[i];
	return found;
}

static void nobody(void **state)
{
	(void)state;
	make(3, 0);
	assert_int_equal(maglev_fill(targets, 0, slots), 0);
	assert_int_equal(slots_of(slots, NO_NUMBER), RING_SIZE);
	memset(slots, 0, sizeof(slots));
	assert_int_equal(maglev_fill(targets, 3, slots), 0);
	assert_int_equal(slots_of(slots, NO_NUMBER), RING_SIZE);
}

static void shares(void **state)
{
	static const struct {
		const char *what;
		size_t count;
		uint32_t weight[5];
	} rows[] = {
		{"one takes all", 1, {7}},
		{"equal", 5, {100, 100, 100, 100, 100}},
		{"one has none", 3, {1, 0, 1}},
		{"three to one", 2, {300, 100}},
		{"far apart", 3, {1, 1000, 50}},
		{"largest possible", 3, {UINT32_MAX, UINT32_MAX, 1}},
	};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		double total = 0;

		make(rows[r].count, 0);
		for (size_t i = 0; i < rows[r].count; i++)
			total += targets[i].weight = rows[r].weight[i];
		assert_int_equal(maglev_fill(targets, rows[r].count, slots), 0);
		for (size_t i = 0; i < rows[r].count; i++) {
			double want = RING_SIZE * (targets[i].weight / total);
			double have = (double)slots_of(slots, (uint16_t)i);

			if (have < want - 2 || have > want + 2)
				fail_msg("%s: target %zu has %.0f slots, not %.0f", rows[r].what, i,
					 have, want);
		}
		assert_int_equal(slots_of(slots, NO_NUMBER), 0);
	}
}

/* Two routers number their targets differently and hear of them in another order. */
static void order_does_not_matter(void **state)
{
	struct maglev_target turned[50];

	(void)state;
	make(50, 10);
	targets[7].weight = 35;
	for (size_t i = 0; i < 50; i++) {
		turned[i] = targets[49 - i];
		turned[i].number = (uint16_t)(turned[i].number + 1000);
	}
	assert_int_equal(maglev_fill(targets, 50, slots), 0);
	assert_int_equal(maglev_fill(turned, 50, others), 0);
	for (size_t i = 0; i < RING_SIZE; i++)
		others[i] = (uint16_t)(others[i] - 1000);
	assert_int_equal(differences(), 0);
}

/* Whoever is not concerned keeps nearly all of its slots (section 5.3 of the paper). */
static void little_disruption(void **state)
{
	size_t moved = 0;

	(void)state;
	make(20, 100);
	assert_int_equal(maglev_fill(targets, 20, slots), 0);
	targets[4].weight = 0;
	assert_int_equal(maglev_fill(targets, 20, others), 0);
	assert_int_equal(slots_of(others, 4), 0);
	for (size_t i = 0; i < RING_SIZE; i++)
		moved += slots[i] != 4 && slots[i] != others[i];
	assert_true(moved < RING_SIZE / 20);
}

/* This table is the same on every machine and in every release: routers of one cluster differ in
 * both. */
static void known_answer(void **state)
{
	uint64_t sum = 0;

	(void)state;
	make(3, 1);
	targets[1].weight = 2;
	assert_int_equal(maglev_fill(targets, 3, slots), 0);
	for (size_t i = 0; i < RING_SIZE; i++)
		sum = sum * 31 + slots[i];
	assert_true(sum == 0xb4bba8304108b2dfULL);
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* A guard against another complexity, not a benchmark. */
static void fast_enough(void **state)
{
	double start;

	(void)state;
	make(MOST, 1);
	targets[0].weight = 1000000;
	start = milliseconds();
	assert_int_equal(maglev_fill(targets, MOST, slots), 0);
	assert_true(milliseconds() - start < 500);
	make(MOST, 100);
	start = milliseconds();
	assert_int_equal(maglev_fill(targets, MOST, slots), 0);
	print_message("1000 targets: %.1f ms\n", milliseconds() - start);
	assert_true(milliseconds() - start < 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody),
		cmocka_unit_test(shares),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(little_disruption),
		cmocka_unit_test(known_answer),
		cmocka_unit_test(fast_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
