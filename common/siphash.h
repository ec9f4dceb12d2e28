/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siphash.h - SipHash-2-4, a keyed hash that nobody without the key can make collide (Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012). Hash tables whose keys clients
 * choose use it, and the sums of DIGEST. The result is the same on every machine: bytes are read as
 * little endian.
 */
#ifndef LIMPET_SIPHASH_H
#define LIMPET_SIPHASH_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash_state {
	uint64_t a, b, c, d;
};

static inline uint64_t siphash_rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void siphash_round(struct siphash_state *v)
{
	v->a += v->b;
	v->b = siphash_rotate(v->b, 13) ^ v->a;
	v->a = siphash_rotate(v->a, 32);
	v->c += v->d;
	v->d = siphash_rotate(v->d, 16) ^ v->c;
	v->a += v->d;
	v->d = siphash_rotate(v->d, 21) ^ v->a;
	v->c += v->b;
	v->b = siphash_rotate(v->b, 17) ^ v->c;
	v->c = siphash_rotate(v->c, 32);
}

static inline void siphash_absorb(struct siphash_state *v, uint64_t word)
{
	v->d ^= word;
	siphash_round(v);
	siphash_round(v);
	v->a ^= word;
}

static inline uint64_t siphash(const uint64_t key[2], const void *data, size_t length)
{
	struct siphash_state v = {
		.a = key[0] ^ 0x736f6d6570736575ULL, /* "somepseudorandomlygeneratedbytes" */
		.b = key[1] ^ 0x646f72616e646f6dULL,
		.c = key[0] ^ 0x6c7967656e657261ULL,
		.d = key[1] ^ 0x7465646279746573ULL,
	};
	const unsigned char *in = data;
	size_t left = length;
	uint64_t word;

	for (; left >= sizeof(word); in += sizeof(word), left -= sizeof(word)) {
		memcpy(&word, in, sizeof(word));
		siphash_absorb(&v, le64toh(word));
	}
	word = 0;
	memcpy(&word, in, left);
	siphash_absorb(&v, le64toh(word) | (uint64_t)length << 56);
	v.c ^= 0xff;
	for (int i = 0; i < 4; i++)
		siphash_round(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

#endif
