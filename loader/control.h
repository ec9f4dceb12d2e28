/* SPDX-License-Identifier: BSD-2-Clause */
/* control.h - ask the agent of this node: HTTP on RUNTIME/control.sock. */
#ifndef LIMPET_CONTROL_H
#define LIMPET_CONTROL_H

#include <stdbool.h>

#include "config.h"

/* A request and its answer: the HTTP status, or -errno. *body, if body is not NULL and the status
 * is not negative, is allocated and ends with NUL. -ETIMEDOUT after 10 s. */
int control_request(const struct config *config, const char *method, const char *path, char **body);
/* The same, with a limit of its own. */
int control_request_within(const struct config *config, const char *method, const char *path,
			   int timeout_ms, char **body);
/*
 * GET an answer that need not end: each(context, line) for every line of it, until it returns
 * nonzero or the agent closes. The HTTP status, or -errno; no limit of time once it has begun.
 */
int control_stream(const struct config *config, const char *path,
		   int (*each)(void *context, const char *line), void *context);

/* Does an agent of this node run? It holds a lock as long as it lives. */
bool control_agent_runs(const struct config *config);

/* One line on standard error: why the agent has not answered, and what to do. `error` is what a
 * request has returned, if negative; `what` comes first. */
void control_unavailable(const struct config *config, int error, const char *what);

#endif
