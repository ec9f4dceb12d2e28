/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h - one line to standard error: with journald's <priority> prefix when it is the journal's,
 * plain otherwise. A line says object, action, cause, and what the operator can do. libbpf's
 * messages come through here too.
 */
#ifndef LIMPET_LOG_H
#define LIMPET_LOG_H

#include <stdbool.h>

void log_init(const char *program, bool verbose);

__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_warning(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_debug(const char *format, ...);

#endif
