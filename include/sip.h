/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sip.h - what every SipHash has in common: the state, how it begins, the round (Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012). Plain C, for BPF and user space
 * alike.
 */
#ifndef LIMPET_SIP_H
#define LIMPET_SIP_H

#include <linux/types.h>

#define SIP_INLINE static inline __attribute__((always_inline))

struct sip {
	__u64 a, b, c, d;
};

SIP_INLINE __u64 sip_rotate(__u64 word, __u32 by)
{
	return word << by | word >> (64 - by);
}

SIP_INLINE struct sip sip_start(__u64 key0, __u64 key1)
{
	return (struct sip){
		.a = key0 ^ 0x736f6d6570736575ULL, /* "somepseudorandomlygeneratedbytes" */
		.b = key1 ^ 0x646f72616e646f6dULL,
		.c = key0 ^ 0x6c7967656e657261ULL,
		.d = key1 ^ 0x7465646279746573ULL,
	};
}

SIP_INLINE void sip_round(struct sip *sip)
{
	sip->a += sip->b;
	sip->b = sip_rotate(sip->b, 13) ^ sip->a;
	sip->a = sip_rotate(sip->a, 32);
	sip->c += sip->d;
	sip->d = sip_rotate(sip->d, 16) ^ sip->c;
	sip->a += sip->d;
	sip->d = sip_rotate(sip->d, 21) ^ sip->a;
	sip->c += sip->b;
	sip->b = sip_rotate(sip->b, 17) ^ sip->c;
	sip->c = sip_rotate(sip->c, 32);
}

SIP_INLINE __u64 sip_fold(const struct sip *sip)
{
	return sip->a ^ sip->b ^ sip->c ^ sip->d;
}

#endif
