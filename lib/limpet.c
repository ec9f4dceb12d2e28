// SPDX-License-Identifier: BSD-2-Clause
/*
 * limpet.c - the four calls of limpet.h, as system calls.
 *
 * The kernel itself answers a level that it does not know in several ways: setsockopt with
 * ENOPROTOOPT or EOPNOTSUPP, getsockopt with EOPNOTSUPP or ENOPROTOOPT, as the socket's family
 * will. Limpet's own getsockopt never says EOPNOTSUPP; so that call tells whether Limpet is there.
 */
#include <limpet/limpet.h>

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#define API __attribute__((__visibility__("default")))

/* wait: how often to ask, at first and at last. */
#define PAUSE_FIRST_NS (1 * 1000000LL)
#define PAUSE_LAST_NS  (20 * 1000000LL)

#define MS_NS	  1000000LL
#define SECOND_NS 1000000000LL

static int get_status(int conn, struct limpet_affinity_status *status)
{
	struct limpet_affinity_status told = {.size = sizeof(told)};
	socklen_t length = sizeof(told);

	if (getsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY, &told, &length))
		return errno == EOPNOTSUPP ? -ENOPROTOOPT : -errno;
	if (length != sizeof(told) || told.size != sizeof(told))
		return -ENOPROTOOPT; /* somebody answered, but not Limpet */
	*status = told;
	return 0;
}

/* EOPNOTSUPP is an answer of Limpet, or of a kind of socket that knows no options at all. */
static int set_error(int conn, int error)
{
	struct limpet_affinity_status status;

	if (error == EOPNOTSUPP && get_status(conn, &status) == -ENOPROTOOPT)
		return -ENOPROTOOPT;
	return -error;
}

API int limpet_affinity_request(int conn, const struct limpet_affinity_options *options)
{
	static const struct limpet_affinity_options defaults = LIMPET_AFFINITY_OPTIONS_INIT;

	if (!options)
		options = &defaults;
	/* The size that the caller was compiled with, if it is one that can be. */
	if (options->size < sizeof(defaults))
		return -EINVAL;
	if (setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY, options, options->size))
		return set_error(conn, errno);
	return 0;
}

API int limpet_affinity_release(int conn)
{
	const int zero = 0;

	if (setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &zero, sizeof(zero)))
		return set_error(conn, errno);
	return 0;
}

API int limpet_affinity_status(int conn, struct limpet_affinity_status *status)
{
	return status ? get_status(conn, status) : -EINVAL;
}

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void pause_ns(long long ns)
{
	struct timespec pause = {.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};

	nanosleep(&pause, NULL); /* a signal makes it shorter: then we ask earlier */
}

/* 1: not decided yet. */
static int wait_result(const struct limpet_affinity_status *status)
{
	if (status->state == LIMPET_AFFINITY_EVERYWHERE)
		return 0;
	if (status->state == LIMPET_AFFINITY_HERE)
		return 1;
	if (status->reason == LIMPET_REASON_REFUSED || status->reason == LIMPET_REASON_LOST)
		return -EEXIST;
	return status->reason == LIMPET_REASON_FULL ? -ENOSPC : -ENOENT;
}

API int limpet_affinity_wait(int conn, int timeout_ms)
{
	struct limpet_affinity_status status;
	long long end = now_ns() + timeout_ms * MS_NS, pause = PAUSE_FIRST_NS, left;
	int result;

	for (;;) {
		result = get_status(conn, &status);
		if (result == 0)
			result = wait_result(&status);
		if (result <= 0)
			return result;
		if (timeout_ms >= 0) {
			left = end - now_ns();
			if (left <= 0)
				return -ETIMEDOUT;
			if (pause > left)
				pause = left;
		}
		pause_ns(pause);
		pause = pause * 2 < PAUSE_LAST_NS ? pause * 2 : PAUSE_LAST_NS;
	}
}
