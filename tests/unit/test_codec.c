/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages to bytes and back, as docs/PROTOCOL.md has them; and whatever else may arrive. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec.h"
#include "siphash.h"

#define LONGEST_NAME "abcdefghijklmnopqrstuvwxyz-0.1_"
#define COUNT(rows)  (sizeof(rows) / sizeof((rows)[0]))

#define V4(a, b, c, d)                                                                             \
	{                                                                                          \
		{                                                                                  \
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d                       \
		}                                                                                  \
	}
#define V6                                                                                         \
	{                                                                                          \
		{                                                                                  \
			0x20, 1, 0xd, 0xb8, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16              \
		}                                                                                  \
	}
#define SHOP                                                                                       \
	{                                                                                          \
		.address = V4(203, 0, 113, 10), .port = __builtin_bswap16(80),                     \
		.protocol = IPPROTO_TCP                                                            \
	}

/* clang-format off */
static const struct valid {
	const char *what;
	size_t payload;
	struct message message;
} valid[] = {
	{"HELLO, shortest name", 74,
	 {MESSAGE_HELLO, .hello = {.version = WIRE_VERSION, .role = WIRE_TARGET, .name = "t"}}},
	{"HELLO, everything", 104,
	 {MESSAGE_HELLO, .hello = {WIRE_VERSION, WIRE_ROUTER, 0x0102030405060708, UINT64_MAX,
				   LONGEST_NAME, V4(10, 7, 0, 2), V6, {UINT64_MAX, 1}}}},
	{"SERVICE, short", 34,
	 {MESSAGE_SERVICE, .service = {.name = "a", .scope = "b", .key = SHOP}}},
	{"SERVICE, everything", 94,
	 {MESSAGE_SERVICE, .service = {LONGEST_NAME, LONGEST_NAME, SHOP, AFFINITY_BY_TIME, 128, 1,
				       300000, UINT32_MAX}}},
	{"TARGET", 9, {MESSAGE_TARGET, .target = {.weight = 100}}},
	{"TARGET, draining", 9, {MESSAGE_TARGET, .target = {0, 4, .draining = true}}},
	{"TARGET, draining, affinities end", 9,
	 {MESSAGE_TARGET, .target = {1, 4, .draining = true, .end_affinities = true}}},
	{"TARGET, crowded", 9, {MESSAGE_TARGET, .target = {1, 4, .crowded = true}}},
	{"READY", 31, {MESSAGE_READY, .ready = {SHOP, 4, 2, 70000}}},
	{"AFFINITY, a claim", 43,
	 {MESSAGE_AFFINITY, .affinity = {.scope = "s", .client = V6, .id = 1}}},
	{"AFFINITY, published, takeover", 73,
	 {MESSAGE_AFFINITY, .affinity = {LONGEST_NAME, V6, UINT64_MAX, {7, 8}, true}}},
	{"AFFINITY_END, short", 18, {MESSAGE_AFFINITY_END, .affinity_end = {"s", V6}}},
	{"AFFINITY_END, long", 48, {MESSAGE_AFFINITY_END, .affinity_end = {LONGEST_NAME, V6}}},
	{"CONNECTION", 37,
	 {MESSAGE_CONNECTION, .connection = {SHOP, V4(10, 7, 0, 100), 0x3412, 0}}},
	{"CONNECTION_END, closed", 38,
	 {MESSAGE_CONNECTION_END, .connection = {SHOP, V6, 0xffff, CONNECTION_END_CLOSED}}},
	{"CONNECTION_END, reset", 38,
	 {MESSAGE_CONNECTION_END, .connection = {SHOP, V6, 0, CONNECTION_END_RESET}}},
	{"BEGIN", 4, {MESSAGE_BEGIN, .list = {1}}},
	{"DONE", 4, {MESSAGE_DONE, .list = {UINT32_MAX}}},
	{"SYNC", 0, {MESSAGE_SYNC, .list = {0}}},
	{"GRANT, short", 42, {MESSAGE_GRANT, .answer = {"s", V6, 9, {1, 0}, 0}}},
	{"GRANT, long", 72, {MESSAGE_GRANT, .answer = {LONGEST_NAME, V6, 9, {1, 2}, 0}}},
	{"REFUSE, held", 27, {MESSAGE_REFUSE, .answer = {"s", V6, 9, {0, 0}, REFUSE_HELD}}},
	{"REFUSE, no scope", 57,
	 {MESSAGE_REFUSE, .answer = {LONGEST_NAME, V6, 9, {0, 0}, REFUSE_SERVICE}}},
	{"LOST", 42, {MESSAGE_LOST, .answer = {"s", V6, 9, {UINT64_MAX, 2}, 0}}},
	{"ROLE, standby", 5, {MESSAGE_ROLE, .role = {0, ROLE_STANDBY}}},
	{"ROLE, active", 5, {MESSAGE_ROLE, .role = {UINT32_MAX, ROLE_ACTIVE}}},
	{"BARRIER", 4, {MESSAGE_BARRIER, .role = {0x01020304, 0}}},
	{"DIGEST", 36, {MESSAGE_DIGEST, .digest = {1, 2, 3, 4, 5}}},
	{"HEARTBEAT", 24, {MESSAGE_HEARTBEAT, .heartbeat = {1, 2, UINT64_MAX}}},
	{"GOODBYE, no text", 3, {MESSAGE_GOODBYE, .goodbye = {GOODBYE_RESYNC, ""}}},
	{"GOODBYE, text", 7, {MESSAGE_GOODBYE, .goodbye = {GOODBYE_STOPPING, "why?"}}},
};
/* clang-format on */

/* Bytes written by hand from the document. */
static const struct golden {
	const char *what;
	const char *bytes;
	size_t length;
} golden[] = {
	{"CONNECTION",
	 "\0\45\7\0"
	 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x0a\0\x50\6"
	 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\7\0\x64\x12\x34",
	 41},
	{"AFFINITY, published, takeover",
	 "\0\111\5\0"
	 "\37" LONGEST_NAME "\x20\1\x0d\xb8\5\6\7\10\11\12\13\14\15\16\17\20"
	 "\xff\xff\xff\xff\xff\xff\xff\xff"
	 "\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\10"
	 "\1",
	 77},
	{"HELLO, shortest name",
	 "\0\112\1\0"
	 "LIMP\0\1\0\1"
	 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1t"
	 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
	 78},
	{"BARRIER", "\0\4\20\0\1\2\3\4", 8},
	{"TARGET, draining, affinities end", "\0\11\3\0\0\0\0\1\0\0\0\4\3", 13},
	{"REFUSE, held",
	 "\0\33\15\0\1s\x20\1\x0d\xb8\5\6\7\10\11\12\13\14\15\16\17\20\0\0\0\0\0\0\0\11\1", 31},
	{"SYNC", "\0\0\13\0", 4},
	{"GOODBYE, text", "\0\7\23\0\0\1\4why?", 11},
};

/* Frames that cannot be read, and why not. */
static const struct invalid {
	const char *what;
	const char *bytes;
	size_t length;
	const char *why;
} invalid[] = {
	{"no type", "\0\0\0\0", 4, "unknown message type"},
	{"type beyond the last", "\0\0\24\0", 4, "unknown message type"},
	{"last type", "\0\0\377\0", 4, "unknown message type"},
	{"fourth byte", "\0\0\13\1", 4, "bad frame header"},
	{"largest length", "\377\377\7\0", 4, "message too long"},
	{"SYNC with a byte", "\0\1\13\0", 4, "message too long"},
	{"GOODBYE beyond its text", "\1\3\23\0", 4, "message too long"},
	{"CONNECTION without anything", "\0\0\7\0", 4, "message too short"},
	{"HELLO, other magic", "\0\6\1\0LIMB\0\1", 10, "not a Limpet peer: wrong magic"},
	{"HELLO, cut after the version", "\0\6\1\0LIMP\0\1", 10, "message too short"},
	{"ROLE, unknown", "\0\5\17\0\0\0\0\1\2", 9, "unknown role"},
	{"TARGET, unknown flag", "\0\11\3\0\0\0\0\1\0\0\0\4\10", 13, "unknown flags"},
	{"GOODBYE, no reason", "\0\3\23\0\0\0\0", 7, "no reason"},
	{"GOODBYE, text longer than the frame", "\0\4\23\0\0\1\2x", 8, "message too short"},
	{"GOODBYE, text shorter than the frame", "\0\5\23\0\0\1\1xy", 9,
	 "bytes left over in a message"},
	{"AFFINITY_END, name of no length", "\0\22\6\0\0s\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22,
	 "bad length of a name"},
	{"AFFINITY_END, name of 32",
	 "\0\60\6\0\40zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 52,
	 "bad length of a name"},
	{"AFFINITY_END, name longer than the frame",
	 "\0\22\6\0\37s\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, "message too short"},
	{"AFFINITY_END, upper case", "\0\22\6\0\1S\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22,
	 "bad character in a name"},
	{"AFFINITY_END, NUL in a name", "\0\22\6\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22,
	 "bad character in a name"},
	{"CONNECTION, port 0",
	 "\0\45\7\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x0a\0\0\6"
	 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\7\0\x64\x12\x34",
	 41, "no port in a service"},
	{"CONNECTION, protocol 0",
	 "\0\45\7\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x0a\0\x50\0"
	 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\7\0\x64\x12\x34",
	 41, "no protocol in a service"},
	{"CONNECTION_END, unknown end",
	 "\0\46\10\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0\x71\x0a\0\x50\6"
	 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\7\0\x64\x12\x34\2",
	 42, "unknown end of a connection"},
	{"REFUSE, unknown reason",
	 "\0\33\15\0\1s\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\11\4", 31,
	 "unknown reason of a refusal"},
	{"GRANT without a term",
	 "\0\52\14\0\1s\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\11"
	 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
	 46, "no term"},
};

/* Messages that have no form on the wire. */
static const struct unsendable {
	const char *what;
	struct message message;
} unsendable[] = {
	{"no type", {0, .list = {1}}},
	{"type beyond the last", {MESSAGE_TYPES, .list = {1}}},
	{"empty name", {MESSAGE_AFFINITY_END, .affinity_end = {"", V6}}},
	{"upper case", {MESSAGE_AFFINITY_END, .affinity_end = {"Shop", V6}}},
	{"space", {MESSAGE_AFFINITY_END, .affinity_end = {"a b", V6}}},
	{"name without end",
	 {MESSAGE_AFFINITY_END, .affinity_end = {{[0 ... NAME_SIZE - 1] = 'x'}, V6}}},
	{"role", {MESSAGE_ROLE, .role = {0, 2}}},
	{"role of a peer", {MESSAGE_HELLO, .hello = {.version = WIRE_VERSION, .name = "t"}}},
	{"prefix",
	 {MESSAGE_SERVICE,
	  .service = {.name = "a", .scope = "a", .key = SHOP, .client_prefix = 129}}},
	{"port", {MESSAGE_READY, .ready = {.service = {.protocol = 6}}}},
	{"protocol", {MESSAGE_READY, .ready = {.service = {.port = 1}}}},
	{"grant without a term", {MESSAGE_GRANT, .answer = {"s", V6, 9, {0, 1}, 0}}},
	{"refusal without a reason", {MESSAGE_REFUSE, .answer = {"s", V6, 9, {0, 0}, 0}}},
	{"end without a kind", {MESSAGE_CONNECTION_END, .connection = {SHOP, V6, 0, 2}}},
	{"goodbye without a reason", {MESSAGE_GOODBYE, .goodbye = {0, ""}}},
};

/* Decode from memory of exactly this size, so that a sanitizer sees a byte read beyond it. */
static ssize_t decode(const uint8_t *bytes, size_t length, struct message *message,
		      const char **why)
{
	uint8_t *exact = malloc(length ? length : 1);
	ssize_t taken;

	assert_non_null(exact);
	memcpy(exact, bytes, length);
	taken = message_decode(exact, length, message, why);
	free(exact);
	return taken;
}

static void set_length(uint8_t *frame, size_t payload)
{
	frame[0] = (uint8_t)(payload >> 8);
	frame[1] = (uint8_t)payload;
}

static void round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++) {
		uint8_t frame[1024] = {0};
		struct message back;
		const char *why = NULL;
		ssize_t length = message_encode(&valid[i].message, frame, sizeof(frame));

		print_message("%s\n", valid[i].what);
		assert_int_equal(length, WIRE_HEADER + valid[i].payload);
		assert_int_equal(frame[0] << 8 | frame[1], valid[i].payload);
		assert_int_equal(frame[2], valid[i].message.type);
		assert_int_equal(decode(frame, (size_t)length, &back, &why), length);
		assert_memory_equal(&back, &valid[i].message, sizeof(back));
	}
}

static void every_type_has_a_row(void **state)
{
	bool seen[MESSAGE_TYPES] = {false};

	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++)
		seen[valid[i].message.type] = true;
	for (int i = 1; i < MESSAGE_TYPES; i++)
		assert_true(seen[i]);
}

static void bytes_are_the_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(golden); i++) {
		uint8_t frame[1024];
		size_t row = 0;

		print_message("%s\n", golden[i].what);
		while (row < COUNT(valid) && strcmp(valid[row].what, golden[i].what) != 0)
			row++;
		assert_true(row < COUNT(valid));
		assert_int_equal(message_encode(&valid[row].message, frame, sizeof(frame)),
				 golden[i].length);
		assert_memory_equal(frame, golden[i].bytes, golden[i].length);
	}
}

static void incomplete_frames_wait(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++) {
		uint8_t frame[1024];
		struct message untouched, back;
		const char *why = NULL;
		ssize_t length = message_encode(&valid[i].message, frame, sizeof(frame));

		memset(&back, 0x55, sizeof(back));
		untouched = back;
		for (ssize_t cut = 0; cut < length; cut++)
			assert_int_equal(decode(frame, (size_t)cut, &back, &why), 0);
		assert_memory_equal(&back, &untouched, sizeof(back));
	}
}

/* The frame says that it is shorter, or longer, than its message. */
static void wrong_lengths_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++) {
		uint8_t frame[1024] = {0};
		struct message untouched, back;
		const char *why;

		message_encode(&valid[i].message, frame, sizeof(frame));
		memset(&back, 0x55, sizeof(back));
		untouched = back;
		for (size_t payload = 0; payload < valid[i].payload + 20; payload++) {
			if (payload == valid[i].payload)
				continue;
			set_length(frame, payload);
			why = NULL;
			assert_int_equal(decode(frame, WIRE_HEADER + payload, &back, &why),
					 -EPROTO);
			assert_non_null(why);
		}
		assert_memory_equal(&back, &untouched, sizeof(back));
	}
}

static void no_room_to_write(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++)
		for (size_t size = 0; size < WIRE_HEADER + valid[i].payload; size++) {
			uint8_t *exact = malloc(size ? size : 1);

			assert_non_null(exact);
			assert_int_equal(message_encode(&valid[i].message, exact, size), -EMSGSIZE);
			free(exact);
		}
}

static void bad_frames_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(invalid); i++) {
		struct message untouched, back;
		const char *why = NULL;

		print_message("%s\n", invalid[i].what);
		memset(&back, 0x55, sizeof(back));
		untouched = back;
		assert_int_equal(
			decode((const uint8_t *)invalid[i].bytes, invalid[i].length, &back, &why),
			-EPROTO);
		assert_non_null(why);
		assert_string_equal(why, invalid[i].why);
		assert_memory_equal(&back, &untouched, sizeof(back));
	}
}

static void bad_messages_are_not_written(void **state)
{
	uint8_t frame[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(unsendable); i++) {
		print_message("%s\n", unsendable[i].what);
		assert_int_equal(message_encode(&unsendable[i].message, frame, sizeof(frame)),
				 -EINVAL);
	}
}

/* Whatever a later version appends or rearranges, its number can be read. */
static void hello_of_another_version(void **state)
{
	static const uint8_t shortest[] = "\0\6\1\0LIMP\0\2";
	uint8_t longest[WIRE_HEADER + 512] = "\2\0\1\0LIMP\xff\xff";
	struct message back, expected;
	const char *why = NULL;

	(void)state;
	memset(&expected, 0, sizeof(expected));
	expected.type = MESSAGE_HELLO;
	expected.hello.version = 2;
	assert_int_equal(decode(shortest, 10, &back, &why), 10);
	assert_memory_equal(&back, &expected, sizeof(back));
	memset(longest + 10, 0xaa, sizeof(longest) - 10);
	expected.hello.version = 0xffff;
	assert_int_equal(decode(longest, sizeof(longest), &back, &why), sizeof(longest));
	assert_memory_equal(&back, &expected, sizeof(back));
	set_length(longest, 513);
	assert_int_equal(decode(longest, WIRE_HEADER, &back, &why), -EPROTO);
}

static void text_is_made_printable(void **state)
{
	static const uint8_t frame[] = "\0\14\23\0\0\6\11a\n\33[1m\177\200z";
	uint8_t longest[WIRE_HEADER + 258];
	struct message message = {MESSAGE_GOODBYE, .goodbye = {GOODBYE_LEAVING, ""}}, back;
	const char *why = NULL;

	(void)state;
	assert_int_equal(decode(frame, 16, &back, &why), 16);
	assert_string_equal(back.goodbye.text, "a??[1m??z");
	memset(message.goodbye.text, 't', 255);
	assert_int_equal(message_encode(&message, longest, sizeof(longest)), sizeof(longest));
	assert_int_equal(decode(longest, sizeof(longest), &back, &why), sizeof(longest));
	assert_memory_equal(&back, &message, sizeof(back));
}

static void frames_follow_each_other(void **state)
{
	uint8_t stream[8192];
	size_t length = 0, at = 0;
	struct message back;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++)
		length += (size_t)message_encode(&valid[i].message, stream + length,
						 sizeof(stream) - length);
	for (size_t i = 0; i < COUNT(valid); i++) {
		ssize_t taken = decode(stream + at, length - at, &back, &why);

		assert_int_equal(taken, WIRE_HEADER + valid[i].payload);
		assert_memory_equal(&back, &valid[i].message, sizeof(back));
		at += (size_t)taken;
	}
	assert_int_equal(at, length);
	assert_int_equal(decode(stream + at, 0, &back, &why), 0);
}

/* SplitMix64 (Steele et al., OOPSLA 2014): the same bytes in each run. */
static uint64_t random_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* A valid frame with a few bytes changed, or noise behind a plausible header. */
static size_t mutate(uint64_t *seed, uint8_t frame[1024])
{
	const struct valid *row = &valid[random_next(seed) % COUNT(valid)];
	size_t length = (size_t)message_encode(&row->message, frame, 1024);
	uint64_t changes = random_next(seed) % 4;

	if (random_next(seed) % 4 == 0)
		for (size_t i = WIRE_HEADER; i < length; i++)
			frame[i] = (uint8_t)random_next(seed);
	while (changes--)
		frame[random_next(seed) % length] = (uint8_t)random_next(seed);
	return random_next(seed) % 8 ? length : random_next(seed) % (length + 1);
}

/* What is accepted is written again as the very same bytes (text and other versions apart). */
static void noise_is_survived(void **state)
{
	uint64_t seed = 7562145;
	unsigned int accepted = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		uint8_t frame[1024], again[1024];
		size_t length = mutate(&seed, frame);
		struct message message;
		const char *why = NULL;
		ssize_t taken = decode(frame, length, &message, &why);

		refused += taken < 0;
		if (taken < 0)
			assert_non_null(why);
		if (taken <= 0)
			continue;
		accepted++;
		assert_true((size_t)taken <= length);
		if (message.type == MESSAGE_GOODBYE ||
		    (message.type == MESSAGE_HELLO && message.hello.version != WIRE_VERSION))
			continue;
		assert_int_equal(message_encode(&message, again, sizeof(again)), taken);
		assert_memory_equal(again, frame, (size_t)taken);
	}
	assert_true(accepted > 10000 && refused > 10000);
}

static void sums_are_over_the_payload(void **state)
{
	const uint64_t key[2] = {1, 2};
	uint8_t frame[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++) {
		const struct message *message = &valid[i].message;
		uint64_t expected = 0;

		message_encode(message, frame, sizeof(frame));
		if (message->type == MESSAGE_CONNECTION || message->type == MESSAGE_AFFINITY)
			expected = siphash(key, frame + WIRE_HEADER, valid[i].payload);
		assert_true(message_sum(message, key) == expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_type_has_a_row),
		cmocka_unit_test(bytes_are_the_documents),
		cmocka_unit_test(incomplete_frames_wait),
		cmocka_unit_test(wrong_lengths_are_refused),
		cmocka_unit_test(no_room_to_write),
		cmocka_unit_test(bad_frames_are_refused),
		cmocka_unit_test(bad_messages_are_not_written),
		cmocka_unit_test(hello_of_another_version),
		cmocka_unit_test(text_is_made_printable),
		cmocka_unit_test(frames_follow_each_other),
		cmocka_unit_test(noise_is_survived),
		cmocka_unit_test(sums_are_over_the_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
