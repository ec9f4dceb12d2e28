/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <json-c/json.h>

static void add_text(struct json_object *in, const char *name, const char *text)
{
	json_object_object_add(in, name, json_object_new_string(text ? text : "unknown"));
}

void report_number(struct json_object *in, const char *name, double value, int decimals)
{
	char text[64];

	snprintf(text, sizeof(text), "%.*f", decimals, value);
	json_object_object_add(in, name, json_object_new_double_s(value, text));
}

struct json_object *report_member(struct json_object *in, const char *name, bool array)
{
	struct json_object *member;

	if (json_object_object_get_ex(in, name, &member))
		return member;
	member = array ? json_object_new_array() : json_object_new_object();
	json_object_object_add(in, name, member);
	return member;
}

static void read_cpu_model(char *model, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(model, size, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		const char *colon = strchr(line, ':');

		if (!strncmp(line, "model name", 10) && colon) {
			snprintf(model, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
			break;
		}
	}
	if (file)
		fclose(file);
}

struct json_object *report_new(void)
{
	struct json_object *report = json_object_new_object();
	struct json_object *machine = report_member(report, "machine", false);
	struct utsname name;
	char model[256];

	read_cpu_model(model, sizeof(model));
	add_text(machine, "cpu", model);
	json_object_object_add(machine, "cpus",
			       json_object_new_int64(sysconf(_SC_NPROCESSORS_ONLN)));
	uname(&name);
	add_text(report, "kernel", name.release);
	add_text(report, "commit", getenv("LIMPET_BENCH_COMMIT"));
	add_text(report, "command", getenv("LIMPET_BENCH_COMMAND"));
	return report;
}

int report_write(const struct json_object *report, const char *path)
{
	if (!json_object_to_file_ext(path, (struct json_object *)report,
				     JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED))
		return 0;
	fprintf(stderr, "bench: %s: cannot be written: %s\n", path, strerror(errno));
	return -EIO;
}

/* ------------------------------------------------------------------------------------------------
 * lines */

void report_heading(const struct bench *bench, const char *what, bool bars)
{
	printf("%-16s %-32s %7s %7s %6s %15s", what, "", "ns", "floor", "ratio", "least .. most");
	if (bars)
		printf(" %6s %7s", "must", "stretch");
	for (unsigned int i = 0; i < bench->other_count; i++)
		printf("  %8.8s %6s", bench->others[i].name, "ratio");
	printf("\n");
}

static const char *mark(const struct bench_case *wanted, double ratio)
{
	if (!wanted->must)
		return "";
	if (ratio <= wanted->stretch)
		return "  **";
	return ratio <= wanted->must ? "  *" : "  -";
}

static void print_result(const char *name, const char *text, const struct result *result)
{
	printf("%-16s %-32s %7.1f %7.1f %6.2f %6.2f .. %5.2f", name, text, result->ns,
	       result->floor_ns, result->ratio, result->least, result->most);
}

static void add_result(struct json_object *to, const struct result *result)
{
	report_number(to, "ns", result->ns, 1);
	report_number(to, "floor_ns", result->floor_ns, 1);
	report_number(to, "ratio", result->ratio, 3);
	report_number(to, "ratio_least", result->least, 3);
	report_number(to, "ratio_most", result->most, 3);
	json_object_object_add(to, "rounds", json_object_new_int64(result->rounds));
}

static void add_others(struct json_object *to, const struct bench *bench,
		       const struct result *result)
{
	for (unsigned int i = 0; i < bench->other_count; i++) {
		struct json_object *other;

		if (!result->other_ns[i])
			continue;
		printf("  %8.1f %6.2f", result->other_ns[i], result->other_ratio[i]);
		other = report_member(report_member(to, "against", false), bench->others[i].name,
				      false);
		report_number(other, "ns", result->other_ns[i], 1);
		report_number(other, "ratio", result->other_ratio[i], 3);
	}
}

void report_case(struct json_object *report, const struct bench *bench,
		 const struct bench_case *wanted, const struct result *result)
{
	struct json_object *to =
		report_member(report_member(report, "cases", false), wanted->name, false);

	add_text(to, "text", wanted->text);
	add_result(to, result);
	print_result(wanted->name, wanted->text, result);
	if (wanted->must) {
		report_number(to, "must", wanted->must, 2);
		report_number(to, "stretch", wanted->stretch, 2);
		printf(" %6.2f %7.2f", wanted->must, wanted->stretch);
	} else {
		printf(" %6s %7s", "", "");
	}
	add_others(to, bench, result);
	printf("%s\n", mark(wanted, result->ratio));
	fflush(stdout);
}

void report_step(struct json_object *report, const struct bench_series *series, uint32_t step,
		 const struct result *result)
{
	struct json_object *steps =
		report_member(report_member(report, "growth", false), series->name, true);
	struct json_object *to = json_object_new_object();
	char number[16];

	snprintf(number, sizeof(number), "%u", step);
	json_object_object_add(to, "n", json_object_new_int64(step));
	add_result(to, result);
	json_object_array_add(steps, to);
	print_result(number, series->text, result);
	printf("\n");
	fflush(stdout);
}
