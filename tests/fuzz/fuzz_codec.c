/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever bytes a peer sends: the codec reads them to their end or says what is wrong, reads
 * nothing beyond them, and what it accepts it writes again as the same bytes.
 *
 *	make fuzz && build/tests/fuzz/fuzz_codec -max_total_time=60
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text of GOODBYE is made printable, and of another version's HELLO only the number is read. */
static bool comes_back(const struct message *message)
{
	if (message->type == MESSAGE_HELLO)
		return message->hello.version == WIRE_VERSION;
	return message->type != MESSAGE_GOODBYE;
}

static void check(const struct message *message, const uint8_t *frame, size_t length)
{
	uint8_t again[WIRE_HEADER + WIRE_MAX_PAYLOAD];
	ssize_t written = message_encode(message, again, sizeof(again));

	if (written < 0 && comes_back(message))
		abort();
	if (comes_back(message) && ((size_t)written != length || memcmp(again, frame, length)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	const char *why = NULL;
	ssize_t taken;

	while ((taken = message_decode(data, size, &message, &why)) > 0) {
		if ((size_t)taken > size)
			abort();
		check(&message, data, (size_t)taken);
		data += taken;
		size -= (size_t)taken;
	}
	if (taken < 0 && !why)
		abort();
	return 0;
}
