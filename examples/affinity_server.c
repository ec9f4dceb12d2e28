// SPDX-License-Identifier: BSD-2-Clause
/*
 * affinity_server.c - an HTTP server that keeps its clients' state in memory, in several processes
 * on one port; and asks that a client who logs in come back to the process that knows it.
 *
 *	affinity_server [-a ADDRESS] [-p PORT] [-n PROCESSES]
 *
 *	curl http://ADDRESS:PORT/	which process answers, and how often it has seen this client
 *	curl http://ADDRESS:PORT/login	the same, and asks for an affinity
 *	curl http://ADDRESS:PORT/wait	the same as login, and waits until it is in force everywhere
 *	curl http://ADDRESS:PORT/logout	gives the affinity up
 *
 * Each process has a listener of its own (SO_REUSEPORT): so Limpet can tell them apart.
 */
#include <limpet/limpet.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CONNECTIONS 512
#define MAX_CLIENTS	4096
#define MAX_PROCESSES	64
#define REQUEST_SIZE	4096
#define WAIT_MS		2000

struct connection {
	size_t length;
	char request[REQUEST_SIZE];
};

/* What a client would lose if it came to another process: here, a counter. */
struct client {
	char address[INET6_ADDRSTRLEN];
	unsigned int visits;
};

static struct pollfd polled[MAX_CONNECTIONS + 1]; /* the last one listens */
static struct connection connections[MAX_CONNECTIONS];
static struct client clients[MAX_CLIENTS];
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static struct client *find_client(int conn)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	char address[INET6_ADDRSTRLEN] = "?";

	if (getpeername(conn, (struct sockaddr *)&peer, &length) == 0)
		getnameinfo((struct sockaddr *)&peer, length, address, sizeof(address), NULL, 0,
			    NI_NUMERICHOST);
	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		if (!clients[i].address[0])
			memcpy(clients[i].address, address, sizeof(address));
		if (!strcmp(clients[i].address, address))
			return &clients[i];
	}
	return NULL;
}

static const char *affinity_text(const struct limpet_affinity_status *status)
{
	switch (status->state) {
	case LIMPET_AFFINITY_HERE:
		return "here";
	case LIMPET_AFFINITY_EVERYWHERE:
		return "everywhere";
	default:
		return "none";
	}
}

/* What the path asks for; 0 or a negative errno of liblimpet. */
static int act(int conn, const char *request)
{
	int error;

	if (!strncmp(request, "GET /logout ", 12))
		return limpet_affinity_release(conn);
	if (!strncmp(request, "GET /login ", 11))
		return limpet_affinity_request(conn, NULL);
	if (strncmp(request, "GET /wait ", 10))
		return 0;
	error = limpet_affinity_request(conn, NULL);
	return error ? error : limpet_affinity_wait(conn, WAIT_MS);
}

/* false: the connection is of no more use. */
static bool answer(int conn, const char *request)
{
	struct limpet_affinity_status status = {0};
	struct client *client = find_client(conn);
	char body[256], head[256];
	int error = act(conn, request), body_length, head_length;
	bool known = limpet_affinity_status(conn, &status) == 0;

	body_length = snprintf(body, sizeof(body),
			       "pid=%d instance=%llu client=%s visits=%u affinity=%s error=%s\n",
			       (int)getpid(), (unsigned long long)status.instance,
			       client ? client->address : "?", client ? ++client->visits : 0,
			       known ? affinity_text(&status) : "unknown",
			       error ? strerrorname_np(-error) : "0");
	head_length = snprintf(head, sizeof(head),
			       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
			       "Content-Length: %d\r\n\r\n",
			       body_length);
	return send(conn, head, head_length, MSG_NOSIGNAL | MSG_MORE) == head_length &&
	       send(conn, body, body_length, MSG_NOSIGNAL) == body_length;
}

/* What has arrived, and an answer for each request that is complete. false: it is over. */
static bool serve(int conn, struct connection *connection)
{
	size_t room = sizeof(connection->request) - 1 - connection->length;
	ssize_t got = recv(conn, connection->request + connection->length, room, MSG_DONTWAIT);
	char *end;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	connection->length += got;
	connection->request[connection->length] = '\0';
	while ((end = strstr(connection->request, "\r\n\r\n"))) {
		if (!answer(conn, connection->request))
			return false;
		end += 4;
		connection->length -= end - connection->request;
		memmove(connection->request, end, connection->length + 1);
	}
	return connection->length < sizeof(connection->request) - 1;
}

static void accept_one(int listener)
{
	int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (conn < 0)
		return;
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		if (polled[i].fd >= 0)
			continue;
		polled[i].fd = conn;
		connections[i].length = 0;
		return;
	}
	close(conn); /* too many */
}

static void run(int listener)
{
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	polled[MAX_CONNECTIONS] = (struct pollfd){.fd = listener, .events = POLLIN};
	while (!stopped) {
		if (poll(polled, MAX_CONNECTIONS + 1, 1000) < 0)
			continue;
		for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
			if (polled[i].fd < 0 || !polled[i].revents)
				continue;
			if (serve(polled[i].fd, &connections[i]))
				continue;
			close(polled[i].fd);
			polled[i].fd = -1;
		}
		if (polled[MAX_CONNECTIONS].revents)
			accept_one(listener);
	}
}

static int listen_on(const char *address, const char *port)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int one = 1, listener, error = getaddrinfo(address, port, &hints, &found);

	if (error) {
		fprintf(stderr, "affinity_server: %s port %s: %s\n", address, port,
			gai_strerror(error));
		return -1;
	}
	listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(listener, found->ai_addr, found->ai_addrlen) || listen(listener, SOMAXCONN)) {
		fprintf(stderr, "affinity_server: %s port %s: %s\n", address, port,
			strerror(errno));
		if (listener >= 0)
			close(listener);
		listener = -1;
	}
	freeaddrinfo(found);
	return listener;
}

static int child(const char *address, const char *port)
{
	int listener;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	listener = listen_on(address, port);
	if (listener < 0)
		return 1;
	run(listener);
	return 0;
}

/* Until all have ended; a signal to stop is passed on. */
static int supervise(const pid_t *children, unsigned int count)
{
	unsigned int left = count;
	int status, result = 0;
	pid_t pid;

	while (left) {
		pid = wait(&status);
		if (pid > 0) {
			left--;
			result |= WIFEXITED(status) ? WEXITSTATUS(status) : 0;
		} else if (errno != EINTR) {
			break;
		}
		for (unsigned int i = 0; stopped == 1 && i < count; i++)
			kill(children[i], SIGTERM);
		if (stopped)
			stopped = 2;
	}
	return result;
}

int main(int argc, char **argv)
{
	const char *address = "0.0.0.0", *port = "8080";
	struct sigaction action = {.sa_handler = stop};
	pid_t children[MAX_PROCESSES];
	unsigned int processes = 1;
	int option;

	while ((option = getopt(argc, argv, "a:p:n:")) != -1) {
		if (option == 'a')
			address = optarg;
		else if (option == 'p')
			port = optarg;
		else if (option == 'n')
			processes = (unsigned int)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind != argc || processes < 1 || processes > MAX_PROCESSES) {
		fprintf(stderr, "usage: affinity_server [-a ADDRESS] [-p PORT] [-n 1..%d]\n",
			MAX_PROCESSES);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	for (unsigned int i = 0; i < processes; i++) {
		children[i] = fork();
		if (children[i] == 0)
			return child(address, port);
		if (children[i] < 0) {
			perror("affinity_server: fork");
			processes = i;
		}
	}
	return supervise(children, processes);
}
