/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

/* The journal's priorities (syslog's). */
enum priority { PRIORITY_ERROR = 3, PRIORITY_WARNING = 4, PRIORITY_INFO = 6, PRIORITY_DEBUG = 7 };

#define LINE_SIZE 2048

static struct {
	const char *program;
	bool verbose;
	bool journal; /* standard error goes to the journal */
} out = {.program = "limpet"};

/* Standard error is the journal's when it is the very stream that systemd has named (sd-daemon(3)).
 */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	if (fstat(STDERR_FILENO, &status))
		return false;
	return status.st_dev == device && status.st_ino == inode;
}

/* One line in one write, so that lines of several processes do not mix. */
static void write_line(enum priority priority, const char *line, int length)
{
	if (out.journal)
		dprintf(STDERR_FILENO, "<%d>%.*s\n", priority, length, line);
	else
		dprintf(STDERR_FILENO, "%s: %.*s\n", out.program, length, line);
}

static void write_lines(enum priority priority, const char *format, va_list arguments)
{
	char text[LINE_SIZE];
	char *line = text;

	if (priority == PRIORITY_DEBUG && !out.verbose)
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	while (*line) {
		size_t length = strcspn(line, "\n");

		if (length)
			write_line(priority, line, (int)length);
		line += length + (line[length] == '\n');
	}
}

/*
 * What libbpf calls a warning is said by its caller as well, with what the operator can do; its own
 * words, the verifier's among them, are for those who ask for them.
 */
static int from_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN || level == LIBBPF_INFO)
		write_lines(PRIORITY_DEBUG, format, arguments);
	return 0;
}

void log_init(const char *program, bool verbose)
{
	out.program = program;
	out.verbose = verbose;
	out.journal = is_journal();
	libbpf_set_print(from_libbpf);
}

void log_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_lines(PRIORITY_ERROR, format, arguments);
	va_end(arguments);
}

void log_warning(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_lines(PRIORITY_WARNING, format, arguments);
	va_end(arguments);
}

void log_info(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_lines(PRIORITY_INFO, format, arguments);
	va_end(arguments);
}

void log_debug(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_lines(PRIORITY_DEBUG, format, arguments);
	va_end(arguments);
}
