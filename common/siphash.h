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

#include "sip.h"

static inline void siphash_absorb(struct sip *v, uint64_t word)
{
	v->d ^= word;
	sip_round(v);
	sip_round(v);
	v->a ^= word;
}

static inline uint64_t siphash(const uint64_t key[2], const void *data, size_t length)
{
	struct sip v = sip_start(key[0], key[1]);
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
		sip_round(&v);
	return sip_fold(&v);
}

#endif
