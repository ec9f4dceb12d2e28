/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bpffs.h"
#include "layout.h"
#include "log.h"

#define TIMEOUT_MS 10000
#define MAX_ANSWER (64 << 20) /* bytes */
#define NO_LIMIT   -1

/* What has been read of an answer and not been used. */
struct answer {
	int fd;
	long long deadline_ms; /* NO_LIMIT: none */
	char *text;	       /* ends with NUL */
	size_t length, size;
};

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready for this, or the time is over. */
static int wait_for(const struct answer *answer, short events)
{
	struct pollfd poller = {.fd = answer->fd, .events = events};

	for (;;) {
		long long left = NO_LIMIT;
		int ready;

		if (answer->deadline_ms != NO_LIMIT) {
			left = answer->deadline_ms - now_ms();
			if (left <= 0)
				return -ETIMEDOUT;
		}
		ready = poll(&poller, 1, (int)left);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
}

static int open_socket(const struct config *config)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock",
			      config->runtime_directory);
	int fd, error;

	if ((size_t)length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* HTTP/1.0: the answer ends with the connection and is never in chunks. */
static int send_request(const struct answer *answer, const char *method, const char *path)
{
	char *text;
	int length = asprintf(&text,
			      "%s %s HTTP/1.0\r\nHost: limpet\r\nContent-Length: 0\r\n"
			      "Connection: close\r\n\r\n",
			      method, path);
	int error = 0;

	if (length < 0)
		return -ENOMEM;
	for (int sent = 0; sent < length && !error;) {
		ssize_t count = send(answer->fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (count >= 0)
			sent += count;
		else if (errno == EAGAIN)
			error = wait_for(answer, POLLOUT);
		else if (errno != EINTR)
			error = -errno;
	}
	free(text);
	return error;
}

/* Read on: the number of bytes added, 0 at the end, or -errno. */
static ssize_t read_some(struct answer *answer)
{
	ssize_t count;
	int error;

	if (answer->size - answer->length < 4096) {
		size_t size = answer->size * 2 + 8192;
		char *text = size > MAX_ANSWER ? NULL : realloc(answer->text, size);

		if (!text)
			return size > MAX_ANSWER ? -EMSGSIZE : -ENOMEM;
		answer->text = text;
		answer->size = size;
	}
	do {
		error = wait_for(answer, POLLIN);
		if (error)
			return error;
		count = recv(answer->fd, answer->text + answer->length,
			     answer->size - answer->length - 1, 0);
	} while (count < 0 && (errno == EINTR || errno == EAGAIN));
	if (count < 0)
		return -errno;
	answer->length += count;
	answer->text[answer->length] = 0;
	return count;
}

static void take(struct answer *answer, size_t length)
{
	answer->length -= length;
	memmove(answer->text, answer->text + length, answer->length + 1);
}

/* Status line and headers, taken from the answer: the status, or -errno. */
static int read_head(struct answer *answer)
{
	int status;

	for (;;) {
		ssize_t count = read_some(answer);
		const char *end;

		if (count <= 0)
			return count ? (int)count : -ECONNRESET;
		end = strstr(answer->text, "\r\n\r\n");
		if (!end)
			continue;
		if (sscanf(answer->text, "HTTP/1.%*d %3d", &status) != 1)
			return -EPROTO;
		take(answer, end + 4 - answer->text);
		return status;
	}
}

static int begin(const struct config *config, const char *method, const char *path, int timeout_ms,
		 struct answer *answer)
{
	int status;

	*answer = (struct answer){.deadline_ms = now_ms() + timeout_ms};
	answer->fd = open_socket(config);
	if (answer->fd < 0)
		return answer->fd;
	status = send_request(answer, method, path);
	return status ? status : read_head(answer);
}

static void end(struct answer *answer)
{
	if (answer->fd >= 0)
		close(answer->fd);
	free(answer->text);
}

int control_request_within(const struct config *config, const char *method, const char *path,
			   int timeout_ms, char **body)
{
	struct answer answer;
	int status = begin(config, method, path, timeout_ms, &answer);
	ssize_t count = 1;

	while (status >= 0 && count > 0) {
		count = read_some(&answer);
		if (count < 0)
			status = (int)count;
	}
	if (status >= 0 && body) {
		*body = answer.text;
		answer.text = NULL;
	}
	end(&answer);
	return status;
}

int control_request(const struct config *config, const char *method, const char *path, char **body)
{
	return control_request_within(config, method, path, TIMEOUT_MS, body);
}

/* Every whole line that is there. Nonzero: enough. */
static int take_lines(struct answer *answer, int (*each)(void *context, const char *line),
		      void *context)
{
	int enough = 0;

	while (!enough && answer->length) {
		char *newline = memchr(answer->text, '\n', answer->length);

		if (!newline)
			break;
		*newline = 0;
		enough = each(context, answer->text);
		take(answer, newline + 1 - answer->text);
	}
	return enough;
}

int control_stream(const struct config *config, const char *path,
		   int (*each)(void *context, const char *line), void *context)
{
	struct answer answer;
	int status = begin(config, "GET", path, TIMEOUT_MS, &answer);

	answer.deadline_ms = NO_LIMIT;
	while (status >= 0 && !take_lines(&answer, each, context)) {
		ssize_t count = read_some(&answer);

		if (!count)
			break;
		if (count < 0)
			status = (int)count;
	}
	end(&answer);
	return status;
}

bool control_agent_runs(const struct config *config)
{
	char path[4096];
	bool runs;
	int fd;

	snprintf(path, sizeof(path), "%s/limpetd.lock", config->runtime_directory);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	runs = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return runs;
}

void control_unavailable(const struct config *config, int error, const char *what)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" LAYOUT_DIRECTORY, config->pin_path);
	if (access(path, F_OK))
		bpffs_unusable(config, -errno, what);
	else if (!control_agent_runs(config))
		log_error("%slimpetd of this node is not running: start it (systemctl start "
			  "limpetd)",
			  what);
	else
		log_error("%slimpetd does not answer on %s/control.sock: %s", what,
			  config->runtime_directory,
			  error < 0 ? strerror(-error) : "what it says cannot be read");
}
