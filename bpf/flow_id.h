/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_id.h - where a flow belongs in router/flows, router/handshakes and router/present, and what
 * tells it from all others there.
 *
 * IPv4: address, port and service number are FLOW_KEY_BITS together. They go through a keyed
 * bijection; its upper bits are the set, its lower FLOW_TAG_BITS the tag, and FLOW_BITS_MIN sees to
 * it that the two leave no bit out. So no two flows have both in common: an entry is one flow's,
 * exactly. An attacker who does not know the key cannot choose who shares a set.
 *
 * IPv6: SipHash-1-3 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012) gives the set and
 * the tag, and 16 bits of its last state besides the result, which is a sum of the state's four
 * words, are the guard: 73 bits that nobody can aim at without the key. (The 128-bit variant takes
 * three rounds more, so that both halves may be shown; nobody is shown these.) A new flow among a
 * million others is taken for one of them once in 10^16 times: at ten thousand a second, in thirty
 * thousand years.
 */
#ifndef LIMPET_FLOW_ID_H
#define LIMPET_FLOW_ID_H

#include "parse.h"
#include "sip.h"

struct flow_id {
	__u64 word; /* an entry's, without stamp and target */
	__u64 hash; /* FLOW_KEY_BITS */
	__u32 set;  /* in router/flows */
	__u16 guard;
};

#define FLOW_KEY_MASK ((1ULL << FLOW_KEY_BITS) - 1)
#define FLOW_TAG_MASK ((1ULL << FLOW_TAG_BITS) - 1)

/* One to one, as each of its steps is. The multipliers are SplitMix64's, which are odd. */
static __always_inline __u64 flow_round(__u64 key, __u64 secret, __u64 multiplier)
{
	key = ((key ^ secret) * multiplier) & FLOW_KEY_MASK;
	return key ^ key >> 29;
}

/* One to one on FLOW_KEY_BITS. */
static __always_inline __u64 flow_mix(__u64 key, const __u64 secret[2])
{
	key = flow_round(key, secret[0], 0xbf58476d1ce4e5b9ULL);
	key = flow_round(key, secret[1], 0x94d049bb133111ebULL);
	return flow_round(key, secret[0] >> 32 ^ secret[1] << 32, 0x9e3779b97f4a7c15ULL);
}

static __always_inline void sip_absorb(struct sip *sip, __u64 word)
{
	sip->d ^= word;
	sip_round(sip);
	sip->a ^= word;
}

static __always_inline __u64 sip_finish(struct sip *sip)
{
	sip_round(sip);
	sip_round(sip);
	sip_round(sip);
	return sip_fold(sip);
}

/* The last word tells what is hashed from everything else that is. */
static __always_inline void flow_hash(const struct address *client, __u64 last,
				      const __u64 secret[2], __u64 *hash, __u16 *guard)
{
	const __u32 *word = (const __u32 *)client->byte;
	struct sip sip = sip_start(secret[0], secret[1]);

	sip_absorb(&sip, (__u64)word[1] << 32 | word[0]);
	sip_absorb(&sip, (__u64)word[3] << 32 | word[2]);
	sip_absorb(&sip, 20ULL << 56 | last);
	sip.c ^= 0xff;
	*hash = sip_finish(&sip) & FLOW_KEY_MASK;
	*guard = (__u16)sip.a;
}

static __always_inline void flow_identify(const struct settings *own,
					  const struct connection_key *key, struct flow_id *id)
{
	id->word = FLOW_USED;
	id->guard = 0;
	if (is_mapped(&key->client)) {
		id->hash =
			flow_mix((__u64)address_to_ip4(&key->client) << 25 |
					 (__u64)key->client_port << 9 | key->service % MAX_SERVICES,
				 own->flow_secret);
	} else {
		flow_hash(&key->client, (__u64)key->service << 16 | key->client_port,
			  own->flow_secret, &id->hash, &id->guard);
		id->word |= FLOW_IPV6;
	}
	id->word |= (id->hash & FLOW_TAG_MASK) << FLOW_TARGET_BITS;
	id->set = id->hash >> (FLOW_KEY_BITS - own->flow_bits);
}

/* For router/present. */
static __always_inline __u64 affinity_hash(const struct settings *own,
					   const struct affinity_key *key)
{
	__u64 hash;
	__u16 guard;

	if (is_mapped(&key->client))
		return flow_mix(~((__u64)address_to_ip4(&key->client) << 25 | key->scope),
				own->flow_secret);
	flow_hash(&key->client, 1ULL << 48 | key->scope, own->flow_secret, &hash, &guard);
	return hash;
}

_Static_assert(MAX_SERVICES == 1 << 9, "a service number is nine bits of an IPv4 flow's key");
_Static_assert(MAX_TARGETS == 1 << FLOW_TARGET_BITS, "a target's number fits into a word");

#endif
