/* SPDX-License-Identifier: BSD-2-Clause */
#include "echoes.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "log.h"
#include "probe.h"

#define FAMILIES 2
#define AT_ONCE	 64 /* read before other events have their turn */

struct echoes {
	echo_heard *heard;
	void *context;
	int fd[FAMILIES];
	struct event *readable[FAMILIES];
};

bool echo_missed(uint64_t sent, uint64_t echoed)
{
	return echoed && sent > echoed && sent - echoed > PROBE_WINDOW;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct echoes *echoes = context;

	(void)what;
	for (int i = 0; i < AT_ONCE; i++) {
		struct probe_payload payload;
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		struct address target;
		__be16 port;
		ssize_t length = recvfrom(fd, &payload, sizeof(payload), MSG_DONTWAIT | MSG_TRUNC,
					  (struct sockaddr *)&from, &size);

		if (length < 0)
			return;
		if ((size_t)length < sizeof(payload) || payload.magic != htonl(PROBE_MAGIC))
			continue;
		address_from_socket((struct sockaddr *)&from, &target, &port);
		echoes->heard(echoes->context, &target, be64toh(payload.sequence));
	}
}

static int open_socket(int family)
{
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(PROBE_PORT)};
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(PROBE_PORT)};
	const struct sockaddr *any =
		family == AF_INET ? (struct sockaddr *)&any4 : (struct sockaddr *)&any6;
	socklen_t size = family == AF_INET ? sizeof(any4) : sizeof(any6);
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error, one = 1;

	if (fd < 0)
		return -errno;
	if ((family == AF_INET || !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) &&
	    !bind(fd, any, size))
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int listen_in(struct echoes *echoes, struct event_base *base, int index, int family)
{
	echoes->fd[index] = open_socket(family);
	if (echoes->fd[index] < 0) {
		log_warning("path probes: echoes over IPv%d cannot be heard: UDP port %d: %s; a "
			    "target without an agent is judged by its link alone",
			    family == AF_INET ? 4 : 6, PROBE_PORT, strerror(-echoes->fd[index]));
		return 0;
	}
	echoes->readable[index] =
		event_new(base, echoes->fd[index], EV_READ | EV_PERSIST, on_readable, echoes);
	if (!echoes->readable[index] || event_add(echoes->readable[index], NULL))
		return -ENOMEM;
	return 0;
}

struct echoes *echoes_start(struct event_base *base, echo_heard *heard, void *context)
{
	struct echoes *echoes = calloc(1, sizeof(*echoes));

	if (!echoes) {
		log_error("path probes: no echoes: %s", strerror(ENOMEM));
		return NULL;
	}
	*echoes = (struct echoes){.heard = heard, .context = context, .fd = {-1, -1}};
	if (!listen_in(echoes, base, 0, AF_INET) && !listen_in(echoes, base, 1, AF_INET6))
		return echoes;
	log_error("path probes: no echoes: %s", strerror(ENOMEM));
	echoes_stop(echoes);
	return NULL;
}

void echoes_stop(struct echoes *echoes)
{
	if (!echoes)
		return;
	for (int i = 0; i < FAMILIES; i++) {
		if (echoes->readable[i])
			event_free(echoes->readable[i]);
		if (echoes->fd[i] >= 0)
			close(echoes->fd[i]);
	}
	free(echoes);
}
