/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tells a flow from all others in the router's tables (bpf/flow_id.h): an IPv4 flow by all of
 * its key, an IPv6 flow by a hash of all of it; and neither by anything that is known outside.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../model/forward.h"

#define FLOWS	 10000
#define KEY_MASK ((1ULL << FLOW_KEY_BITS) - 1)

static const uint64_t secret[2] = {0x0123456789abcdef, 0xfedcba9876543210};

static struct connection_key random_key(bool ip4)
{
	struct connection_key key;

	for (size_t i = 0; i < sizeof(key.client); i++)
		key.client.byte[i] = (uint8_t)random();
	if (ip4)
		memcpy(key.client.byte, (const uint8_t[12]){[10] = 0xff, 0xff}, 12);
	key.client_port = (uint16_t)random();
	key.service = (uint16_t)random() % MAX_SERVICES;
	return key;
}

static struct forward_id identify(const struct connection_key *key)
{
	return forward_identify(key, secret);
}

/* A number's inverse modulo 1 << 64 (Newton's method; each step doubles the bits that are right).
 */
static uint64_t inverse(uint64_t odd)
{
	uint64_t found = odd;

	for (int i = 0; i < 6; i++)
		found *= 2 - odd * found;
	return found;
}

static uint64_t undo_round(uint64_t word, uint64_t round_secret, uint64_t multiplier)
{
	word ^= word >> 29;
	return ((word * inverse(multiplier)) ^ round_secret) & KEY_MASK;
}

/* There is a way back from the hash to address, port and service, so no two IPv4 flows share it. */
static void test_one_to_one(void **state)
{
	(void)state;
	for (int i = 0; i < FLOWS; i++) {
		struct connection_key key = random_key(true);
		uint64_t word = identify(&key).hash;
		uint32_t address;

		memcpy(&address, key.client.byte + 12, sizeof(address));
		word = undo_round(word, secret[0] >> 32 ^ secret[1] << 32, 0x9e3779b97f4a7c15ULL);
		word = undo_round(word, secret[1], 0x94d049bb133111ebULL);
		word = undo_round(word, secret[0], 0xbf58476d1ce4e5b9ULL);
		assert_int_equal(word >> 25, address);
		assert_int_equal((uint16_t)(word >> 9), key.client_port);
		assert_int_equal(word % MAX_SERVICES, key.service);
	}
}

/* Set and tag leave no bit of it out, where the sets are as few as they may be. */
static void test_set_and_tag(void **state)
{
	(void)state;
	for (int i = 0; i < FLOWS; i++) {
		struct connection_key key = random_key(i % 2);
		struct forward_id id = identify(&key);

		assert_int_equal((uint64_t)id.flow_set << FLOW_TAG_BITS | id.flow_tag, id.hash);
		assert_int_equal(id.hash >> HANDSHAKE_TAG_BITS << HANDSHAKE_TAG_BITS |
					 id.handshake_tag,
				 id.hash);
		assert_int_equal(id.is_ip6, !(i % 2));
	}
}

/* Each bit of an IPv6 flow's key changes hash and guard, and so do both halves of the secret. */
static void test_each_bit(void **state)
{
	struct connection_key key = random_key(false);
	struct forward_id id = identify(&key), other;
	unsigned int same_guard = 0;

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(key); bit++) {
		struct connection_key changed = key;

		((uint8_t *)&changed)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		other = identify(&changed);
		assert_true(other.hash != id.hash);
		same_guard += other.guard == id.guard;
	}
	assert_in_range(same_guard, 0, 2);
	for (int half = 0; half < 2; half++) {
		const uint64_t another[2] = {secret[0] ^ !half, secret[1] ^ half};

		other = forward_identify(&key, another);
		assert_true(other.hash != id.hash);
		assert_int_not_equal(other.guard, id.guard);
	}
}

/* Another client, or scope, has another hash. */
static void test_affinities(void **state)
{
	(void)state;
	for (int i = 0; i < FLOWS; i++) {
		struct connection_key key = random_key(i % 2);
		struct affinity_key one = {.client = key.client, .scope = key.service}, two = one;

		two.scope ^= 1;
		assert_true(forward_affinity_hash(&one, secret) !=
			    forward_affinity_hash(&two, secret));
		two = one;
		two.client.byte[i % 4 + 12] ^= 1;
		assert_true(forward_affinity_hash(&one, secret) !=
			    forward_affinity_hash(&two, secret));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_to_one),
		cmocka_unit_test(test_set_and_tag),
		cmocka_unit_test(test_each_bit),
		cmocka_unit_test(test_affinities),
	};

	return cmocka_run_group_tests_name("flow_id: what tells flows apart", tests, NULL, NULL);
}
