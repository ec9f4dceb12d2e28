/* SPDX-License-Identifier: BSD-2-Clause */
/* report.h - results, as lines on the terminal and as JSON (README.md shows its form). */
#ifndef LIMPET_BENCH_REPORT_H
#define LIMPET_BENCH_REPORT_H

#include "rounds.h"

struct json_object;

/* With the machine, the kernel, and what the environment says of commit and command. */
struct json_object *report_new(void);
/* 0 or a negative errno, with a line that says what was wrong. */
int report_write(const struct json_object *report, const char *path);

/* `bars`: of what there is a must and a stretch. */
void report_heading(const struct bench *bench, const char *what, bool bars);
/* A line, and an entry in `cases`. */
void report_case(struct json_object *report, const struct bench *bench,
		 const struct bench_case *wanted, const struct result *result);
/* A line, and an element of `growth`'s series. */
void report_step(struct json_object *report, const struct bench_series *series, uint32_t step,
		 const struct result *result);

/* The member of that name, made an object (or an array) if it is not there. */
struct json_object *report_member(struct json_object *in, const char *name, bool array);
/* Rounded to so many decimals. */
void report_number(struct json_object *in, const char *name, double value, int decimals);

#endif
