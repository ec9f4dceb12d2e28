/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * codec.h - messages to bytes and back (docs/PROTOCOL.md). One bounded reader and one bounded
 * writer with a sticky error, checked once at the end. Nothing is allocated; no length is believed
 * before it is checked.
 */
#ifndef LIMPET_CODEC_H
#define LIMPET_CODEC_H

#include <sys/types.h>

#include "wire.h"

/* Write one frame into out[0..size): its length, or -EMSGSIZE, or -EINVAL for a message that has no
 * such form. */
ssize_t message_encode(const struct message *message, uint8_t *out, size_t size);

/*
 * Read one frame from in[0..length): the number of bytes it took, 0 when it is not complete yet
 * (wait for more), or -EPROTO; then *why says in a few words what was wrong. *message is written
 * only on success; of a HELLO in another version than WIRE_VERSION only `version` is filled in, the
 * rest is zero.
 */
ssize_t message_decode(const uint8_t *in, size_t length, struct message *message, const char **why);

const char *message_name(uint8_t type); /* "CONNECTION", for the log */

/* The hash of an entry for DIGEST's sums: of CONNECTION's or AFFINITY's payload under the session's
 * digest key (docs/PROTOCOL.md, 7). 0 for any other message, or one that could not be encoded. */
uint64_t message_sum(const struct message *message, const uint64_t key[2]);

/* 1 to 31 characters of a-z 0-9 . _ - and a NUL: what may be the name of a node, service or scope.
 */
bool wire_name_valid(const char name[NAME_SIZE]);

#endif
