/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session_peer.h - the other end of a session, honest or not: a process of its own that speaks TLS
 * over a socket pair and tells by its exit code what it saw. Its certificates are in `directory`.
 */
#ifndef LIMPET_TEST_SESSION_PEER_H
#define LIMPET_TEST_SESSION_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "codec.h"

#define SAW_NOTHING 100 /* exit codes: what GOODBYE's reason was, or these */
#define SAW_ALERT   101

static char directory[] = "/tmp/limpet-session-XXXXXX";

struct peer {
	const char *certificate; /* file in the directory */
	const char *name;
	enum wire_role role;
	uint16_t version;
	void (*act)(SSL *ssl); /* after HELLO has been sent; then it waits for GOODBYE */
};

static SSL *peer_connect(const struct peer *peer, int fd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	char path[256];
	SSL *ssl;

	snprintf(path, sizeof(path), "%s/%s.pem", directory, peer->certificate);
	SSL_CTX_use_certificate_chain_file(ctx, path);
	snprintf(path, sizeof(path), "%s/%s.key", directory, peer->certificate);
	SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	return SSL_connect(ssl) == 1 ? ssl : NULL;
}

static void peer_send(SSL *ssl, const struct message *message)
{
	uint8_t frame[1024];
	ssize_t length = message_encode(message, frame, sizeof(frame));

	SSL_write(ssl, frame, (int)length);
}

static bool peer_read(SSL *ssl, uint8_t *bytes, int length)
{
	for (int got = 0; got < length;) {
		int more = SSL_read(ssl, bytes + got, length - got);

		if (more <= 0)
			return false;
		got += more;
	}
	return true;
}

/* One message: false at the end of the stream. */
static bool peer_receive(SSL *ssl, struct message *message)
{
	uint8_t frame[WIRE_HEADER + WIRE_MAX_PAYLOAD];
	const char *why;
	int length;

	if (!peer_read(ssl, frame, WIRE_HEADER))
		return false;
	length = frame[0] << 8 | frame[1];
	return peer_read(ssl, frame + WIRE_HEADER, length) &&
	       message_decode(frame, (size_t)length + WIRE_HEADER, message, &why) > 0;
}

static int peer_wait_for_goodbye(SSL *ssl)
{
	struct message message;

	while (peer_receive(ssl, &message))
		if (message.type == MESSAGE_GOODBYE)
			return message.goodbye.reason;
	return ERR_GET_REASON(ERR_peek_last_error()) >= SSL_AD_REASON_OFFSET ? SAW_ALERT
									     : SAW_NOTHING;
}

static int peer_run(const struct peer *peer, int fd)
{
	SSL *ssl = peer_connect(peer, fd);
	struct message hello = {.type = MESSAGE_HELLO};

	if (!ssl)
		return SAW_ALERT;
	hello.hello.version = WIRE_VERSION;
	hello.hello.role = (uint16_t)peer->role;
	hello.hello.node_id = 7;
	strncpy(hello.hello.name, peer->name, NAME_SIZE - 1);
	if (peer->version != WIRE_VERSION) {
		uint8_t frame[1024];
		ssize_t length = message_encode(&hello, frame, sizeof(frame));

		frame[WIRE_HEADER + 5] = (uint8_t)peer->version; /* after the magic */
		SSL_write(ssl, frame, (int)length);
	} else {
		peer_send(ssl, &hello);
	}
	if (peer->act)
		peer->act(ssl);
	return peer_wait_for_goodbye(ssl);
}

/* The router's end of the pair; the peer runs at the other. */
static int peer_start(const struct peer *peer, pid_t *pid)
{
	int pair[2], size = 64 * 1024;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		close(pair[0]);
		alarm(100);
		_exit(peer_run(peer, pair[1]));
	}
	close(pair[1]);
	return pair[0];
}

static int peer_end(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
