/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h - the XDP program, loaded without pins, and what its maps hold: a router in peace
 * (active, in sync, 10.7.0.2 and fd07::2) unless a test says otherwise.
 *
 * Services: SHOP 203.0.113.10:80 and SHOP6 [2001:db8:113::10]:80, with affinity, both in scope 0;
 * PLAIN 203.0.113.10:443 and PLAIN6 [2001:db8:113::10]:443 without. All of a service's ring is one
 * target unless a test splits it: T1.
 * Targets: T1 10.7.0.11 and T3 fd07::13 behind the interface that packets come by, T2 10.7.0.12
 * behind another, LOCAL this node.
 */
#ifndef LIMPET_TEST_WORLD_H
#define LIMPET_TEST_WORLD_H

#include <linux/bpf.h>

#include "frame.h"
#include "layout.h"
#include "maps.h"

enum { SHOP, SHOP6, PLAIN, PLAIN6 };
enum { T1 = 1, T2, T3, LOCAL };

#define ROUTER	 "10.7.0.2"
#define ROUTER6	 "fd07::2"
#define ADDRESS1 "10.7.0.11"
#define ADDRESS2 "10.7.0.12"
#define ADDRESS3 "fd07::13"

#define TARGET_MTU 1500
#define SETS	   (1 << FLOW_BITS_MIN) /* of flows, of handshakes, of sightings */

#define SECOND_NS 1000000000ULL

/* cmocka's: load once a group, everything back to peace before each test. */
int world_load(void **state);
int world_unload(void **state);
int world_reset(void **state);

uint64_t world_now_ns(void);
/* Time passes only where a test says so, not while the machine stands still or is slow: between two
 * packets, all that has a time becomes younger by what has passed. */
void world_stand_still(void);
struct address world_address(const char *text);

/* What user space changes whole. */
struct maps world_maps(void);

void put_settings(const struct settings *settings);
struct settings router_settings(void);
/* Everything falls into so few sets (of flows, of handshakes, words of present). */
void squeeze(uint8_t flow_bits, uint8_t handshake_bits, uint8_t present_bits);
void put_service(uint32_t number, const struct router_service *service);
struct router_service get_service(uint32_t number);
void drop_service(uint32_t number); /* from the index */
void put_target(uint32_t number, const struct target *target);
int renew_target(uint16_t number, const struct target *target); /* as limpetd does: whole */
struct target get_target(uint32_t number);
void set_flags(uint32_t number, uint16_t flags); /* besides the family's */
/* A ring of one target, of what `slot` gives, or none. */
void put_ring(uint32_t service, uint16_t target);
void put_ring_slots(uint32_t service, uint16_t (*slot)(uint32_t slot));
void drop_ring(uint32_t service);
void put_ready(uint32_t service, uint32_t ready_instances);
void put_unserved(uint32_t service, uint16_t target, bool is); /* of all targets, this one alone */
void put_role(uint32_t role, uint32_t epoch, uint64_t since_ns);
void put_sync(uint32_t epoch, uint32_t in_sync, uint32_t affinities_in_sync);
void put_missing(uint32_t epoch, uint64_t since_ns); /* not in sync since then */
void put_connection(const char *client, uint16_t port, uint16_t service, uint16_t target,
		    enum connection_state state);
void put_affinity(const char *client, uint16_t scope, uint16_t target);
/* The truth changes, and nobody is told. */
void sneak_connection(const char *client, uint16_t port, uint16_t service, uint16_t target);
unsigned int table_size(void); /* of connections */
/* Entries that router/present counts; its bits say the same. */
unsigned int presence(void);
/* All of its bits are so many entries'. */
void put_presence(uint8_t entries);
#define PRESENT_COUNT_MAX UINT8_MAX
/* The agent's answer: 0 or -errno. */
int try_connection(const char *client, uint16_t port, uint16_t service, uint16_t target);
int delete_connection(const char *client, uint16_t port, uint16_t service);
int delete_affinity(const char *client, uint16_t scope);
void put_router(const char *address);
void put_served(const char *address, uint16_t port, uint8_t protocol);
bool get_probe(const char *router, struct probe *probe);

/* What XDP has noted (target: NO_NUMBER if nothing); and time passes for all of it. */
enum flow_state get_flow(const char *client, uint16_t port, uint16_t service, uint16_t *target);
void age_handshakes(uint64_t by_ns);
/* All that is noted is another flow's from now on: in its guard alone. */
void change_guards(void);
/* ... or is an IPv4 flow's. */
void change_families(void);
/* ... and of the fast path's memory: in this bit of its word. */
void change_words(int bit);
/* Atomic additions in the programs that need not be seen by another CPU in the order in which they
 * were made. */
unsigned int unordered_additions(void);
/* The fast path's memory: a flow's set, and how many words are in all sets together. */
struct flow_set *get_set(const char *client, uint16_t port, uint16_t service);
unsigned int remembered(void);
/* An open connection of CLIENT's port 40000 with SHOP, to T1, that the fast path remembers. */
void remember(void);
/* The next packets come in on this CPU. */
void world_run_on(int cpu);
/* Time passes for the flows that are waited for; how many they are. */
unsigned int age_sightings(uint64_t by_ns);

/*
 * One packet: the verdict, the frame that comes out (NULL: dropped, nobody sees it) and exactly
 * these counters, one each, besides RX_PACKETS.
 */
void expect_packet(const char *file, int line, const char *what, const struct frame *in,
		   uint32_t verdict, const struct frame *out, const enum counter *counted);
/* The verdict alone; nothing is compared. */
uint32_t run_packet(const struct frame *in, struct frame *out);

/* As fast as they can be sent; nobody looks. */
void run_packets(const struct frame *in, int times);

#define EXPECT(what, in, verdict, out, ...)                                                        \
	do {                                                                                       \
		struct frame in_ = (in), out_ = (out);                                             \
		expect_packet(__FILE__, __LINE__, what, &in_, verdict, &out_,                      \
			      (const enum counter[]){__VA_ARGS__, COUNTERS});                      \
	} while (0)
#define EXPECT_DROP(what, in, ...)                                                                 \
	do {                                                                                       \
		struct frame in_ = (in);                                                           \
		expect_packet(__FILE__, __LINE__, what, &in_, XDP_DROP, NULL,                      \
			      (const enum counter[]){__VA_ARGS__, COUNTERS});                      \
	} while (0)
/* Passed as it came. */
#define EXPECT_PASS(what, in, ...)                                                                 \
	do {                                                                                       \
		struct frame in_ = (in);                                                           \
		expect_packet(__FILE__, __LINE__, what, &in_, XDP_PASS, &in_,                      \
			      (const enum counter[]){__VA_ARGS__, COUNTERS});                      \
	} while (0)

/* A packet of the client's to SHOP or SHOP6; more members of struct segment may follow the flags.
 */
#define SEGMENT(...)  tcp((struct segment){.to = VIP, .flags = __VA_ARGS__})
#define SEGMENT6(...) tcp((struct segment){.to = VIP6, .flags = __VA_ARGS__})

/* A handshake's first packet, with the number that frame.h gives it, and what comes after it. */
#define ISN	  1000
#define SYN(...)  SEGMENT(TCP_SYN, ##__VA_ARGS__)
#define ACK(...)  SEGMENT(TCP_ACK, .sequence = ISN + 1, ##__VA_ARGS__)
#define SYN6(...) SEGMENT6(TCP_SYN, ##__VA_ARGS__)
#define ACK6(...) SEGMENT6(TCP_ACK, .sequence = ISN + 1, ##__VA_ARGS__)

/* What a packet to a service counts, by what its target was found by. */
#define SERVICE	    COUNT_SERVICE_PACKETS
#define DISTRIBUTED SERVICE, COUNT_NEW_DISTRIBUTED, COUNT_FORWARDED_PACKETS
#define AFFINITY    SERVICE, COUNT_NEW_AFFINITY, COUNT_FORWARDED_PACKETS
#define HALF_OPEN   SERVICE, COUNT_FLOW_HALF_OPEN, COUNT_FORWARDED_PACKETS
#define NOTED	    SERVICE, COUNT_FLOW_NOTED, COUNT_FORWARDED_PACKETS
#define CONNECTION  SERVICE, COUNT_FLOW_CONNECTION, COUNT_FORWARDED_PACKETS
#define SIGHTED	    SERVICE, COUNT_HELD_SIGHTING
#define NO_TARGET   SERVICE, COUNT_DROP_NO_TARGET

#define TO_T1(frame) encapsulated(frame, ROUTER, ADDRESS1)
#define TO_T2(frame) encapsulated(frame, ROUTER, ADDRESS2)
#define TO_T3(frame) encapsulated(frame, ROUTER6, ADDRESS3)

#endif
