/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * layout.h - keys and values of every BPF map, their names and their sizes.
 *
 * What BPF programs and user space share of the maps. It includes nothing of ours. Whoever
 * changes the layout of anything in here raises LAYOUT_VERSION, which names the directory of the
 * pins: a program and a map of different versions never meet.
 *
 * Conventions: an address is always 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). __be16
 * and __be32 are in network byte order, all else in the host's. Times ending in _ns are
 * CLOCK_MONOTONIC (bpf_ktime_get_ns) of this node and never leave it.
 */
#ifndef LIMPET_LAYOUT_H
#define LIMPET_LAYOUT_H

#include <linux/types.h>

#define LAYOUT_VERSION	 1
#define LAYOUT_DIRECTORY "v1" /* PIN_PATH/v1/{node,router,target,links} */

#define NAME_SIZE 32 /* of a service, scope, node: at most 31 characters and a NUL */

#define MAX_SERVICES  512 /* and of scopes */
#define MAX_TARGETS   4096
#define MAX_ROUTERS   16
#define MAX_INSTANCES 4096
#define MAX_LISTENERS 8192
#define MAX_GROUPS    2048   /* reuseport groups: (bound address, port, family) */
#define MAX_MEMBERS   256    /* listeners of one group */
#define NO_NUMBER     0xffff /* of a service, a scope, a target: none */

/* Maglev's table size: a prime, about 100 slots a target for 650 targets (Eisenbud et al., NSDI
 * 2016, 5.3). */
#define RING_SIZE     65537
#define RING_LANES    4 /* targets in one ring element, which is 8 bytes */
#define RING_ELEMENTS ((RING_SIZE + RING_LANES - 1) / RING_LANES)
#define GUESS_RING                                                                                 \
	MAX_SERVICES /* number of the ring of targets that are not in sync (promise 4)             \
		      */

/* How long things last in the data plane. */
/* A SYN that comes again stays with its target; TCP sends it again after 1 s, 3 s, 7 s (RFC 6298).
 */
#define SYN_SAME_NS (2ULL * 1000000000)
/* A noted flow is believed without its target's report. */
#define NOTED_NS (10ULL * 1000000000)
/* An unknown flow is dropped from its first sight: the report is on its way. */
#define SIGHTING_NS (250ULL * 1000000)
/* A sighting is forgotten; TCP sends again after 120 s at most. */
#define SIGHTING_LAST_NS (130ULL * 1000000000)
/* SYNs of services with affinity wait for the affinities at most. */
#define SYN_HOLD_NS (200ULL * 1000000)
/* A steered handshake delays an affinity's expiry at most. */
#define STEERED_NS (10ULL * 1000000000)
/* A handshake's packets are this close to its SYN's sequence number. */
#define ISN_WINDOW (1U << 20)

/* ------------------------------------------------------------------------------------------------
 * both roles */

struct address {
	__u8 byte[16];
} __attribute__((aligned(4)));

/* A service's address; port 0 and protocol 0 stand for "some service has this address" (ICMP,
 * fragments). */
struct service_key {
	struct address address;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP */
	__u8 zero;
};

/* A connection seen from either end: who, to which of our services. */
struct connection_key {
	struct address client;
	__be16 client_port;
	__u16 service; /* this node's number */
};

/* An affinity: a client under its prefix, in a scope. */
struct affinity_key {
	struct address client; /* bits beyond the prefix are zero */
	__u16 scope;	       /* this node's number */
	__u16 zero;
};

/* ------------------------------------------------------------------------------------------------
 * node/ */

/* node/settings: one element; written by `limpet load` and `limpet reload`. */
struct settings {
	__u64 hold_ns;		/* router.hold_time */
	__u64 flow_secret[2];	/* keys bpf/flow_id.h; drawn once, by the first `limpet load` */
	struct address source4; /* router.address: outer source towards IPv4 targets, which limpetd
				   puts into their entries; zero: none */
	struct address source6; /* outer source towards IPv6 targets */
	struct address target;	/* target.address: outer destination of what is decapsulated here;
				   zero: no target */
	__u32 is_router;
	__u32 is_target;
	__u8 flow_bits;		    /* router/flows has 1 << flow_bits sets */
	__u8 handshake_bits;	    /* router/handshakes */
	__u8 present_bits;	    /* router/present has so many words for connections, */
	__u8 present_affinity_bits; /* and behind them so many for affinities */
	__u8 sighting_bits;	    /* router/sightings */
	__u8 zero[3];
};

/*
 * node/counters: per CPU, in the order of a packet's way. The name here, in lower case and without
 * the prefix, is the name in `limpet status` and in /metrics. Each packet is counted once per
 * stage.
 */
/* clang-format off */
#define LIMPET_COUNTERS(X)                                                                      \
	X(RX_PACKETS, "packets that the XDP program has seen")                                  \
	/* target: decapsulation */                                                             \
	X(DECAP_PACKETS, "packets of a router, unwrapped and passed to this node's services")   \
	X(DECAP_NOT_ROUTER, "dropped: encapsulated for this node, but its source is not a router") \
	X(DECAP_NO_SERVICE, "dropped: from a router, for an address and port that is no service here") \
	X(DECAP_NO_LISTENER, "dropped: SYNs for services that nobody listens for here, any more or yet") \
	X(DECAP_MALFORMED, "dropped: from a router, with an inner packet that cannot be read")  \
	X(DECAP_PROBES, "path probes of routers, answered")                                     \
	/* router: what is it */                                                                \
	X(PASS_NO_SERVICE, "passed: for no service of this router")                             \
	X(PASS_ICMP, "passed: ICMP for a service's address that belongs to no flow (echo)")     \
	X(DROP_MALFORMED, "dropped: for a service, with headers that cannot be read")           \
	X(DROP_FRAGMENT, "dropped: a fragment for a service's address")                         \
	X(SERVICE_PACKETS, "packets for a service")                                             \
	/* router: where does it go */                                                          \
	X(FLOW_NOTED, "to the target that this router has seen the handshake go to")            \
	X(FLOW_HALF_OPEN, "to the target that this router has sent the SYN to")                 \
	X(FLOW_CONNECTION, "to the target that has reported the connection")                    \
	X(FLOW_EXPIRED, "noted flows no longer believed: their target has not reported them")   \
	X(NEW_AFFINITY, "SYNs to the target that holds the client's affinity")                  \
	X(NEW_DISTRIBUTED, "SYNs distributed over the weights")                                 \
	X(AFFINITY_UNUSABLE, "SYNs distributed although an affinity exists: its target takes none for the service") \
	X(HELD_UNKNOWN, "dropped: unknown flow while targets are missing; TCP sends it again")  \
	X(HELD_SIGHTING, "dropped: unknown flow, first seen less than 250 ms ago")              \
	X(HELD_SYN, "dropped: SYN while the affinities are not here; if active, for 200 ms")    \
	X(GUESS_NOTED, "unknown flows sent to the target that has had their handshake, and has not reported it") \
	X(GUESS_UNSYNCED, "unknown flows guessed among the targets that have not sent their table") \
	X(GUESS_AFFINITY, "unknown flows sent to the client's affinity's target")               \
	X(GUESS_DISTRIBUTED, "unknown flows distributed over the weights")                      \
	X(REFUSED_NO_INSTANCE, "SYNs answered with a RST: no instance of the service anywhere") \
	X(DROP_NO_TARGET, "dropped: no target could take it, or the ring is not there yet")     \
	X(DROP_NOT_SERVING, "dropped: SYN for a service that is being set up or removed")       \
	X(ICMP_RELAYED, "ICMP errors sent to the target of the flow that they speak of")        \
	X(FLOW_FULL, "flows that could not be noted")                                           \
	X(FLOW_DISPLACED, "handshakes of the last second that gave way to newer ones: many are a flood of SYNs") \
	/* router: out */                                                                       \
	X(DROP_NO_NEXT_HOP, "dropped: the target's next hop is not resolved")                   \
	X(DROP_ENCAPSULATION, "dropped: no room for the outer header, or no source address for it") \
	X(DROP_TOO_BIG, "dropped: larger than the path to the target; the client is told by ICMP") \
	X(FORWARDED_PACKETS, "packets sent towards a target")                                   \
	X(FORWARDED_LOCAL, "packets for this node's own target, passed")                        \
	/* target: selector */                                                                  \
	X(SELECT_AFFINITY, "new connections given to the instance that holds the client's affinity") \
	X(SELECT_LEAST, "new connections given to the ready instance with the fewest")          \
	X(SELECT_MIGRATED, "connections of a closing listener given to another instance")       \
	X(SELECT_AFFINITY_GONE, "new connections whose affinity's instance has no listener to give") \
	X(SELECT_DRAINING, "new connections given to a draining instance: none is ready here")  \
	X(SELECT_NONE, "new connections that no instance could take, left to the kernel")       \
	X(SELECT_FOREIGN, "new connections for no service, left to the kernel")                 \
	/* target: tracker */                                                                   \
	X(TRACK_OPENED, "connections of services established")                                  \
	X(TRACK_CLOSED, "connections of services ended")                                        \
	X(TRACK_FULL, "connections not entered: the table is full")                             \
	X(TRACK_RETRY, "counts that could not be changed at once; a rescan puts them right")    \
	X(EVENT_LOST, "events that did not fit into the ring; a rescan follows")                \
	/* target: request */                                                                   \
	X(AFFINITY_REQUESTED, "affinities made on request")                                     \
	X(AFFINITY_TIMED, "affinities made by a first connection")                              \
	X(AFFINITY_REFUSED, "requests refused")                                                 \
	X(AFFINITY_FULL, "affinities not made: table full or quota reached")                    \
	X(AFFINITY_ENDED, "affinities ended in the kernel")                                     \
	X(STEERING_REFUSED, "reuseport programs of applications, refused at instances' listeners")
/* clang-format on */

enum counter {
#define LIMPET_COUNTER_ENUM(name, text) COUNT_##name,
	LIMPET_COUNTERS(LIMPET_COUNTER_ENUM)
#undef LIMPET_COUNTER_ENUM
		COUNTERS
};

/* node/routers: encapsulated packets are accepted from these. key: struct address; written by
 * limpetd. */
struct router {
	char name[NAME_SIZE];
};

/* node/served: services that this target serves. key: struct service_key; written by limpetd. */
struct served {
	__u16 service; /* index into target/services; NO_NUMBER for an address-only key */
	__u16 zero;
};

/* node/probes: the last path probes that have arrived. key: struct address (router); written by
 * XDP. */
struct probe {
	__u64 small_sequence; /* of small probes */
	__u64 full_sequence;  /* of probes as large as the path's MTU */
};

/*
 * A path probe, as a router sends it: an encapsulated UDP packet to the target's own address and
 * PROBE_PORT, with this first in its payload.
 */
#define PROBE_PORT  7562
#define PROBE_MAGIC 0x4c50524fU /* "LPRO" */

enum probe_kind { PROBE_SMALL, PROBE_FULL };

struct probe_payload {
	__be32 magic;
	__u8 kind; /* enum probe_kind */
	__u8 zero[3];
	__be64 sequence;
};

/* ------------------------------------------------------------------------------------------------
 * router/ */

enum affinity_mode { AFFINITY_NONE, AFFINITY_BY_REQUEST, AFFINITY_BY_TIME };

/*
 * Elements of several words that change while packets are being forwarded carry a sequence: odd
 * while the element is being written. A reader that finds it odd, or another one after reading,
 * takes nothing from the element.
 */

/* router/services: by number; written by `limpet load` and `limpet reload`. */
struct router_service {
	__u32 sequence;
	__u32 zero0;
	__u64 since_ns; /* the number means this service since then: what was noted before is void
			 */
	char name[NAME_SIZE]; /* empty: number not in use */
	struct service_key key;
	__u16 scope;
	__u8 affinity;	    /* enum affinity_mode */
	__u8 client_prefix; /* of 128: an IPv4 prefix of /24 is 120 here */
	__u8 serving;	    /* 0: being set up or removed: SYNs are dropped, known flows go on */
	__u8 distribution;  /* enum distribution; for limpetd */
	__u8 takeover;	    /* claims may displace another target's */
	__u8 zero;
	__u32 affinity_idle_ms;
	__u32 affinity_max_life_ms; /* 0: none */
	__u32 zero1;
};

/*
 * router/service_index: one element, a map of SERVICE_SLOTS of these: a hash table with linear
 * probing, made anew and switched whole by `limpet load` and `limpet reload`.
 * A key with port 0 and protocol 0 says that some service has this address: its number is
 * NO_NUMBER.
 */
struct service_slot {
	struct service_key key;
	__u16 number;
	__u16 used;
};

#define SERVICE_SLOTS  8192 /* a power of two; for MAX_SERVICES keys, and as many addresses */
#define SERVICE_PROBES 8    /* a key is at most so many slots from where it belongs */

/* Where a key belongs. They are the operator's, not a client's: no secret is needed. */
static inline __attribute__((always_inline)) __u32 service_slot_of(const struct address *address,
								   __be16 port, __u8 protocol)
{
	const __u32 *word = (const __u32 *)address->byte;
	__u64 hash = ((__u64)word[0] << 32 | word[1]) * 0x9e3779b97f4a7c15ULL;

	hash ^= (__u64)word[2] << 32 | word[3];
	hash = (hash + ((__u32)port << 8 | protocol)) * 0xbf58476d1ce4e5b9ULL;
	return (__u32)(hash >> 51) % SERVICE_SLOTS;
}

enum distribution { DISTRIBUTE_MAGLEV, DISTRIBUTE_LEASTCONN, DISTRIBUTE_HOTSTANDBY };

/* router/scopes and target/scopes: by number, the name. */
struct scope {
	char name[NAME_SIZE];
};

/*
 * router/service_state: by service number; written by limpetd.
 * instances 0 while the router is in sync: SYNs are answered with a RST.
 */
struct service_state {
	__u32 ready_instances; /* wherever they are: a target that takes no connections now has
				  them too */
	__u32 generation;      /* of the ring: counts up at each switch */
};

/*
 * router/unserved: by service number; written by limpetd. One bit a target: it has said that nobody
 * listens for the service there, draining or not. An affinity that the client has there for other
 * services of the scope does not lead its connections to this one astray. What a target has not
 * said is 0.
 */
struct unserved {
	__u64 word[MAX_TARGETS / 64];
};

/* router/rings: array of maps; the inner maps have RING_ELEMENTS of these. NO_NUMBER: no target. */
struct ring_element {
	__u16 target[RING_LANES];
};

enum target_flag {
	TARGET_USABLE = 1 << 0,	  /* takes new connections: up, path whole; draining ones too
				     (affinity clients) */
	TARGET_IN_SYNC = 1 << 1,  /* has handed over its whole table in the present session, and the
				     CRHT had room for it */
	TARGET_DEAD = 1 << 2,	  /* given up: its flows and affinities are void */
	TARGET_LOCAL = 1 << 3,	  /* this node itself: passed, not encapsulated */
	TARGET_IPV6 = 1 << 4,	  /* its address is IPv6 */
	TARGET_RESOLVED = 1 << 5, /* ifindex and the Ethernet addresses are valid */
	TARGET_WRAPS = 1 << 6	  /* outer is valid: there is a source address for it */
};

/* router/targets: by number; written by `router_agent`, which limpetd calls. */
struct target {
	__u32 sequence;
	__u32 ifindex;	/* out interface; the same as the packet's: sent back on it */
	__u64 since_ns; /* the number means this target since then: what was noted before is void */
	__u8 mac[6];	/* next hop's */
	__u8 source_mac[6];
	__be16 vlan;	 /* 802.1Q tag to put on, 0: none */
	__u16 flags;	 /* enum target_flag */
	__u32 mtu;	 /* of the route, bytes of IP */
	__u32 outer_sum; /* of outer's words, for an IPv4 header's checksum */
	__u32 outer[10]; /* the outer header but for its length, traffic class, protocol and
			    checksum; TARGET_WRAPS; common/outer.h */
	__u32 weight;	 /* of new clients, as it has said; 0: none, it drains; for limpetd */
	struct address address;
	char name[NAME_SIZE]; /* empty: number not in use */
};

/*
 * What XDP remembers of flows, in router/flows and router/handshakes: sets of one cache line, found
 * by a hash of the flow's key (bpf/flow_id.h); BPF programs are their only writers. Both may
 * forget. A word is read and written whole, so that nobody sees half an entry:
 *
 *     63       56   55     54    53                  12 11        0
 *     stamp/since  used  IPv6   tag                    target
 */
#define FLOW_TARGET_BITS 12
#define FLOW_TAG_BITS	 42
#define FLOW_IPV6	 (1ULL << 54)
#define FLOW_USED	 (1ULL << 55)
#define FLOW_STAMP_SHIFT 56
#define FLOW_TARGET_MASK ((1ULL << FLOW_TARGET_BITS) - 1)

/* An IPv4 flow's key: address, port, service number. */
#define FLOW_KEY_BITS 57
#define FLOW_BITS_MIN (FLOW_KEY_BITS - FLOW_TAG_BITS) /* set and tag together are the whole key */
#define FLOW_BITS_MAX 26

#define FLOW_WAYS 5

/* router/flows: the fast path: copies of what router/connections says, bpf/flows.h. */
struct flow_set {
	__u64 version;		/* changes with what the set's answers depend on */
	__u64 word[FLOW_WAYS];	/* stamp: the version's low byte when it was made */
	__u16 guard[FLOW_WAYS]; /* more of the hash */
	__u16 next;		/* the next to give way */
	__u32 zero;
};

/* Places of each set: so many for handshakes whose SYN alone was seen, and as many for others. */
#define HALF_OPEN_WAYS 2
#define NOTED_WAYS     HALF_OPEN_WAYS
#define HANDSHAKE_WAYS (HALF_OPEN_WAYS + NOTED_WAYS)

/*
 * router/handshakes: what this router itself has seen go to a target, bpf/handshakes.h. The tag has
 * one bit more than in router/flows, for the sets may be half as many; 0 is a free place:
 *
 *     63       56   55    54                    12 11        0
 *     since        IPv6   tag                      target
 */
#define HANDSHAKE_IPV6	   (1ULL << 55)
#define HANDSHAKE_TAG_BITS 43
#define HANDSHAKE_BITS_MIN (FLOW_KEY_BITS - HANDSHAKE_TAG_BITS)

struct handshake_set {
	__u64 word[HANDSHAKE_WAYS];  /* the half-open ones first */
	__u32 since[HANDSHAKE_WAYS]; /* HANDSHAKE_TICK; eight higher bits are in the word */
	__u32 check[HANDSHAKE_WAYS]; /* half-open: sequence number of the SYN, host order; noted:
					guard, and the lower half of that number */
};

#define HANDSHAKE_TICK_SHIFT 20 /* a tick is 1 << 20 ns: 40 bits are 36 years */

/*
 * router/present: is it worth asking router/connections or router/affinities at all? A few bits
 * for the hash of what is there (bpf/present.h), so that a SYN of a flood finds out in one word
 * that nothing is known of it. router/present_counts: how many entries have a bit. Written by
 * `router_agent`.
 */
struct present_counts {
	__u8 count[64]; /* of the bits of one word; 255: has been, and stays */
};

enum flow_state { FLOW_STATE_NONE, FLOW_STATE_HALF_OPEN, FLOW_STATE_NOTED };

/*
 * The `router_agent` program (BPF_PROG_TYPE_SYSCALL), run by limpetd and `limpet` with this as its
 * context: connections, with all that depends on them, and what has been noted. One operation a
 * run. result: 0 or a negative errno.
 */
enum router_op {
	ROUTER_PUT_CONNECTION,	  /* key, value */
	ROUTER_DELETE_CONNECTION, /* key; -ENOENT */
	ROUTER_PUT_AFFINITY,	  /* affinity_key, affinity */
	ROUTER_DELETE_AFFINITY,	  /* affinity_key; -ENOENT */
	ROUTER_LOOK_UP,		  /* key: state and target of the handshake, if one is noted */
	ROUTER_PUT_TARGET	  /* target, entry, but for its sequence; -EINVAL: no such number */
};

/* router/sightings: unknown flows and when they were first seen, bpf/sightings.h; written by XDP.
 * A word is a flow's hash, whole. */
#define SIGHTING_WAYS 4
#define SIGHTING_BITS 12 /* so many sets, at any size of the other tables */
#define SIGHTING_USED (1ULL << 63)
#define SIGHTING_IPV6 (1ULL << 57)

struct sighting_set {
	__u64 word[SIGHTING_WAYS];
	__u64 first_ns[SIGHTING_WAYS];
};

/* router/connections: the CRHT. key: struct connection_key; written by limpetd on the targets'
 * word, through the `router_agent` program. */
enum connection_state { CONNECTION_OPEN, CONNECTION_LINGERS };

struct router_connection {
	__u16 target;
	__u8 state; /* enum connection_state; one that lingers is ended by a SYN */
	__u8 zero;
};

/* router/affinities: the CRHT. key: struct affinity_key; written by limpetd on the targets' word.
 */
struct router_affinity {
	__u64 clock; /* of the published term, or of the grant: no later one of ours is lower */
	__u16 target;
	__u16 granted; /* 1: not yet published */
	__u16 zero[2];
};

struct router_call {
	__u32 op; /* enum router_op */
	__s32 result;
	struct connection_key key;
	struct affinity_key affinity_key;
	struct router_connection value;
	__u32 state; /* enum flow_state */
	struct router_affinity affinity;
	__u64 since_ns; /* of the handshake, to a HANDSHAKE_TICK */
	__u32 target;	/* NO_NUMBER: none */
	__u32 set;	/* where the flow belongs in router/flows */
	struct target entry;
};

/* router/role: one element; written by `limpet load` (standby), `limpet activate` and `limpet
 * deactivate`. */
enum role { ROLE_STANDBY, ROLE_ACTIVE };

struct router_role {
	__u64 since_ns;
	__u32 epoch; /* counts up at each activation */
	__u32 role;  /* enum role */
};

/* router/sync_state: one element; written by limpetd; counts only while `epoch` is the role's. */
struct sync_state {
	__u32 epoch;
	__u32 in_sync; /* every target of the roster is in sync, and there is at least one */
	__u32 affinities_in_sync; /* every target of the roster that is not down has sent its
				     affinities */
	__u32 missing;		  /* targets of the roster that are not in sync */
	__u64 missing_since_ns;	  /* CLOCK_MONOTONIC; not in_sync since then; 0: in sync */
};

/* ------------------------------------------------------------------------------------------------
 * target/ */

/* target/services: by number; written by limpetd as the routers say. */
struct target_service {
	char name[NAME_SIZE]; /* empty: number not in use */
	struct service_key key;
	__u16 scope;
	__u8 affinity;	    /* enum affinity_mode */
	__u8 client_prefix; /* of 128 */
	__u64 idle_ns;
	__u64 max_life_ns; /* 0: none */
	__u32 takeover;	   /* limpet_affinity_options' take-over flag is honoured */
	__u32 zero;
};

/* target/groups: a reuseport group, as its listeners are bound. written by limpetd. */
struct group_key {
	struct address bound; /* zero: wildcard */
	__be16 port;
	__u8 family; /* AF_INET or AF_INET6: the group's, not the packet's */
	__u8 zero;
};

struct member {
	__u32 listener; /* slot in target/listeners, a REUSEPORT_SOCKARRAY */
	__u32 instance; /* slot in target/instances */
};

struct group {
	__u16 members;
	__u16 v6only; /* IPV6_V6ONLY is set on all of them; else on none */
	__u32 zero;   /* 0: the selector counts on it */
	struct member member[MAX_MEMBERS];
};

/* target/instances: by slot; written by limpetd. A slot is used again only when nothing refers to
 * it. */
enum instance_state { INSTANCE_FREE, INSTANCE_READY, INSTANCE_DRAINING, INSTANCE_ENDED };

struct instance {
	__u64 id;	      /* unique on this target for ever */
	__u32 pid;	      /* tgid of the process that listens */
	__u32 state;	      /* enum instance_state */
	__u32 max_affinities; /* quota; 0: none */
	__u16 listeners;
	__u16 service; /* the first one, for display; NO_NUMBER: several */
};

/* target/instance_load: by slot; written by the kernel's programs. */
struct instance_load {
	__u32 connections; /* established, accepted or not */
	__u32 affinities;
	__u64 asker; /* incarnation of the process that asks over this instance's listeners; 0: none
			yet */
	__u32 shared;  /* a second living process has asked, its tgid: no affinities until the asker
			  is gone, or limpetd sees that one of the two holds no listener */
	__u32 changes; /* of the two counts: counts up, for who checks them */
};

/*
 * target/socket_notes: storage of a listener, cloned into the connections that it accepts. It tells
 * the tracker of which instance a new connection is, and proves nothing after that.
 */
struct socket_note {
	__u64 cookie;	/* of the listener that this note was written for */
	__u32 instance; /* slot + 1; 0: not adopted */
	__u32 guarded;	/* its group is the selector's: other reuseport programs are refused */
};

/*
 * target/lowered_mss: storage of a listener, not cloned. Written by who lowers its TCP_MAXSEG
 * before it does. `limpet unload` puts `before` back where `after` is still in force: any other
 * value is a later choice of the program's own.
 */
struct lowered_mss {
	__u16 before; /* 0: the program had chosen none */
	__u16 after;
};

/* target/connections: the CRHT. key: struct connection_key; written by tracker and selector. */
struct target_connection {
	__u64 cookie;
	__u64 established_ns;
	/* Where it is counted: one word, for who changes it (bpf/connection.h). */
	__u32 instance;	    /* slot; NO_INSTANCE: of a listener that is not adopted */
	__u16 scope;	    /* the service's when the connection came, or since AGENT_COUNT_ANEW: a
			       reload may change it */
	__u8 client_prefix; /* likewise */
	__u8 zero;
};

#define NO_INSTANCE   0xffffffffU
#define GONE_INSTANCE 0xfffffffeU /* the entry is being removed */

/* target/sockets: key: a socket's cookie; which connection entry is its. written by the tracker. */
struct socket_connection {
	struct connection_key key;
};

/* target/clients: established connections of a client to an instance, in a scope. written by the
 * tracker. */
struct client_key {
	struct affinity_key client;
	__u32 instance;
};

/*
 * One word, changed by compare-and-swap only: a hash element may be used again for another key
 * while a program still holds a pointer to it, and the incarnation, unique for each element made,
 * shows that.
 */
struct client_count {
	__u64 word; /* incarnation << 32 | connections; with CLIENT_DEAD: is being deleted, and who
		       deletes it enters the connections that came meanwhile anew */
	__u32 changes; /* of the word: counts up, for who checks it */
	__u32 zero;
};

#define CLIENT_DEAD		 0x80000000U /* a bit of the connections */
#define CLIENT_CONNECTIONS(word) ((__u32)(word) & ~CLIENT_DEAD)

/*
 * target/affinities: the CRHT. key: struct affinity_key; written by the kernel's programs only.
 *
 * `word` decides: id << 8 | enum affinity_phase, changed by compare-and-swap only. Whoever moves it
 * to BUSY or CHANGING owns the other fields until it moves it on; they are believed only when
 * `word` is LIVE with the same id, and `changes` the same, before and after reading. Only the
 * agent's reaper (op AGENT_REAP) deletes, by way of REAPED, so that no entry vanishes under a
 * request that revives it. Ids are unique on this target and count up. idle_since_ns and steered_ns
 * are written without owning it.
 */
enum affinity_phase {
	PHASE_BUSY, /* is being made or ended: not in force */
	PHASE_LIVE,
	PHASE_ENDED,
	PHASE_REAPED,
	PHASE_CHANGING /* LIVE, and being changed: in force all the while */
};

enum affinity_end {
	END_NONE,
	END_RELEASED, /* by the instance */
	END_OPERATOR, /* limpet affinity release, --end-affinities */
	END_EXPIRED,
	END_INSTANCE, /* its listeners are closed */
	END_PROCESS,  /* the asking process has exited */
	END_REFUSED,  /* a router: another target holds the client */
	END_FULL,     /* a router: no room */
	END_LOST,     /* a higher term was published */
	END_SHARED,   /* several processes accept on the listener */
	END_SERVICE   /* the service is no longer served here */
};

#define AFFINITY_FLAG_TAKEOVER 1u /* asks to displace another target's */
#define AFFINITY_FLAG_TIMED    2u /* made by a first connection, not by a request */

struct target_affinity {
	__u64 word;
	__u64 process;	 /* incarnation in target/processes of the asking process; 0: timed */
	__u64 displaced; /* id of the instance here that it was taken from last, or that was refused
			    it last; 0: none */
	__u64 created_ns; /* the life begins: asking again, at the same instance, does not renew it
			   */
	__u64 idle_since_ns; /* written before each close of the client's: expiry counts from here
				while count is 0 */
	__u64 steered_ns;    /* the last handshake that it steered */
	__u64 idle_ns;
	__u64 max_life_ns; /* from created_ns; 0: none */
	__u32 instance;	   /* slot */
	__u32 pid;	   /* of the asking process */
	__u16 service;	   /* over which it was asked */
	__u8 end;	   /* enum affinity_end */
	__u8 flags;
	__u32 changes; /* counts up with each: what was read while it was LIVE is of one piece */
};

/* target/grants: what the routers have said of an affinity. key: struct affinity_key; written by
 * limpetd. */
struct grant {
	__u64 id;	  /* of the affinity that this speaks of; else it is void */
	__u64 clock;	  /* the published term */
	__u64 router;	  /* the term's router */
	__u32 everywhere; /* published: in force everywhere */
	__u32 zero;
};

/* target/processes: processes that have asked, while they live. key: __u32 tgid; written by request
 * and tracker. */
struct process {
	__u64 incarnation; /* a number never given before << 32 | tgid */
};

/* target/identity: one element; counters that never go back; changed by atomic add only. */
struct identity {
	__u64 affinity;	   /* last id given */
	__u64 incarnation; /* last given, of client counts and processes */
};

/* target/events: ring buffer. An event names a key; the reader looks up what holds now. */
enum event_type {
	EVENT_CONNECTION = 1, /* key.connection has come or gone; `how` tells how it ended */
	EVENT_AFFINITY,	      /* key.affinity has come, changed or ended */
	EVENT_LISTEN,	      /* a socket listens: cookie, pid, key.connection: its address, port */
	EVENT_LISTEN_END,     /* a listening socket has closed: cookie */
	EVENT_PROCESS_END,    /* a process of target/processes has exited: pid */
	EVENT_SHARED	      /* several processes ask over one instance: number = slot */
};

enum connection_end { CONNECTION_END_CLOSED, CONNECTION_END_RESET };

struct event {
	__u32 type; /* enum event_type */
	__u32 pid;
	__u64 cookie;
	union {
		struct connection_key connection;
		struct affinity_key affinity;
	} key;
	__u16 number;
	__u8 how; /* enum connection_end */
	__u8 zero;
};

/*
 * The `agent` program (BPF_PROG_TYPE_SYSCALL), run by limpetd with this as its context: what the
 * agent may do to the tables that the kernel writes. One operation a run. result: 0 or a negative
 * errno.
 */
enum agent_op {
	AGENT_END_AFFINITY, /* end affinity `affinity` if its id is still `id`, for reason `end` */
	AGENT_REAP,	   /* in force: -EBUSY; expired, or its instance or process gone: ended now,
			      -EAGAIN; ended before: deleted, 0; -ENOENT. Leave a second between, in which
			      `status` tells why. */
	AGENT_REPAIR_OPEN, /* enter the connection of a socket that the tracker has missed, or give
			      one that is known an instance; -EEXIST */
	AGENT_REPAIR_CLOSE, /* remove `connection` if its cookie is `id`: its socket is gone;
			       -ENOENT */
	/* Put right a count that was checked to be `count`, if it still is what it was then, `id`;
	 * else -EAGAIN. */
	AGENT_REPAIR_LOAD,   /* connections of `instance` */
	AGENT_REPAIR_QUOTA,  /* affinities of `instance` */
	AGENT_REPAIR_CLIENT, /* connections of client `affinity` to `instance`; id: the whole word,
				0: there was none */
	AGENT_SET_ASKER,     /* process `count`, which has asked, alone asks over `instance`, if its
				asker is still `id`: else -EAGAIN; -ENOENT: it has exited */
	AGENT_COUNT_ANEW     /* count `connection`, if its cookie is `id`, under the scope and the
				prefix that its service has now; -ENOENT; -EEXIST: so it is */
};

struct agent_call {
	__u32 op;
	__s32 result;
	struct affinity_key affinity;
	struct connection_key connection;
	__u64 id;	/* an affinity's, or a socket's cookie */
	__u32 end;	/* enum affinity_end */
	__u32 instance; /* for AGENT_REPAIR_OPEN and the counts */
	__u32 count;
	__u32 zero;
};

/* What the `steering` iterator writes for each listener whose group has a reuseport program, or
 * whose MSS somebody has chosen. */
struct steered {
	__u64 cookie;	   /* of the listener */
	__u32 program;	   /* its id; 0: a classic BPF filter, which has none */
	__u16 has_program; /* the group has one */
	__u16 chosen_mss;  /* TCP_MAXSEG; 0: no choice */
};

/* ------------------------------------------------------------------------------------------------
 * sizes */

#define LAYOUT_SIZE(type, size)                                                                    \
	_Static_assert(sizeof(struct type) == (size), "layout of struct " #type)

LAYOUT_SIZE(address, 16);
LAYOUT_SIZE(service_key, 20);
LAYOUT_SIZE(connection_key, 20);
LAYOUT_SIZE(affinity_key, 20);
LAYOUT_SIZE(settings, 88);
LAYOUT_SIZE(router, 32);
LAYOUT_SIZE(served, 4);
LAYOUT_SIZE(probe, 16);
LAYOUT_SIZE(probe_payload, 16);
LAYOUT_SIZE(router_service, 88);
LAYOUT_SIZE(service_slot, 24);
LAYOUT_SIZE(scope, 32);
LAYOUT_SIZE(service_state, 8);
LAYOUT_SIZE(unserved, MAX_TARGETS / 8);
LAYOUT_SIZE(ring_element, 8);
LAYOUT_SIZE(target, 136);
LAYOUT_SIZE(flow_set, 64);
LAYOUT_SIZE(handshake_set, 64);
LAYOUT_SIZE(router_call, 224);
LAYOUT_SIZE(present_counts, 64);
LAYOUT_SIZE(sighting_set, 64);
LAYOUT_SIZE(router_connection, 4);
LAYOUT_SIZE(router_affinity, 16);
LAYOUT_SIZE(router_role, 16);
LAYOUT_SIZE(sync_state, 24);
LAYOUT_SIZE(target_service, 80);
LAYOUT_SIZE(group_key, 20);
LAYOUT_SIZE(group, 8 + 8 * MAX_MEMBERS);
LAYOUT_SIZE(instance, 24);
LAYOUT_SIZE(instance_load, 24);
LAYOUT_SIZE(socket_note, 16);
LAYOUT_SIZE(lowered_mss, 4);
LAYOUT_SIZE(target_connection, 24);
LAYOUT_SIZE(socket_connection, 20);
LAYOUT_SIZE(client_key, 24);
LAYOUT_SIZE(client_count, 16);
LAYOUT_SIZE(target_affinity, 80);
LAYOUT_SIZE(grant, 32);
LAYOUT_SIZE(process, 8);
LAYOUT_SIZE(identity, 16);
LAYOUT_SIZE(event, 40);
LAYOUT_SIZE(agent_call, 72);
LAYOUT_SIZE(steered, 16);

#endif
