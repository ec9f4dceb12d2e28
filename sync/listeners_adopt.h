/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_adopt.h - one listener's adoption, and its end: what the files listeners*.c share. */
#ifndef LIMPET_LISTENERS_ADOPT_H
#define LIMPET_LISTENERS_ADOPT_H

#include "diag.h"
#include "listeners.h"
#include "steering.h"
#include "unadoptable.h"

#define WHY_SIZE sizeof(((struct unadoptable *)0)->remedy)
#define WHY_STEERED                                                                                \
	"its group has a reuseport program of the application's own, which Limpet does not "       \
	"replace; start the application without it, or detach it"

struct candidate {
	struct diag_socket socket;
	struct socket_owner owner;
	uint16_t service;      /* one that it would serve */
	unsigned int attempts; /* so far */
};

/* Two that both hold an instance's listeners, or neither does: as in its load. */
struct sharing {
	uint64_t asker;
	uint32_t other;
};

struct listeners {
	struct target_part *target;
	struct instance_table *table;
	struct steering *steering; /* NULL: cannot be told */
	struct event *again;	   /* a pass over the listeners is due */
	bool look_again; /* something was adopted: is its process still there in a second? */
	bool room;	 /* there may be some now for those who had none */
	uint32_t inode[MAX_LISTENERS]; /* of the socket in each slot, as listed last */
	struct sharing sharing[MAX_INSTANCES];
	uint16_t outranked[MAX_INSTANCES]; /* for the service of this number less 1; 0: for none */
	bool ranked;			   /* that is how it is at present */
	int mtu;			   /* smallest of the target's interfaces */

	/* Listeners that were heard of and are not adopted yet. */
	struct heard {
		uint64_t cookie;
		uint32_t pid;
		unsigned int attempts;
	} * heard;
	unsigned int heard_count, heard_room;

	struct unadoptables unadoptable;
	struct unadoptables before; /* during a pass: these have been warned of */
};

/*
 * Make the listener (part of) an instance: 0; -EAGAIN: not yet (it is not listening yet, or its
 * descriptor has moved), try again soon; another -errno: it cannot be adopted, with the reason and
 * the remedy in why.
 */
int listener_adopt(struct listeners *listeners, const struct candidate *candidate, char *why,
		   size_t size);

/* It is no instance's: 0, or -errno. */
int listener_forget(struct listeners *listeners, const struct candidate *candidate);
/* The selector chooses among its group again. */
int listener_steer_again(struct listeners *listeners, const struct candidate *candidate);

/* listeners_refuse.c */
/* Where it listens, as text; returns text. */
const char *listener_place(const struct diag_socket *socket, char text[ADDRESS_TEXT]);
/* It cannot be adopted, for this -errno: remembered, and said unless that has been said before. */
void listener_refuse(struct listeners *listeners, const struct candidate *candidate, int err,
		     const char *why);
/* A listener or an instance has gone: those that had no room are tried again, soon. */
void listeners_make_room(struct listeners *listeners);

/* listeners.c */
/* The group that it is in by how it is bound; and a service that it serves, NO_NUMBER: none. */
struct group_key listener_group(const struct diag_socket *socket);
uint16_t listeners_service(const struct listeners *listeners, const struct group_key *group,
			   bool v6only);
/* Look at this one with the next pass, soon. */
void listener_hear(struct listeners *listeners, uint64_t cookie, uint32_t pid);

/* listeners_leave.c */
/* One line of `limpet monitor` about an instance. */
void listener_report(struct listeners *listeners, const char *what, unsigned int slot);
/* The listener in this slot has closed. */
void listener_closed(struct listeners *listeners, unsigned int slot);
void listeners_remove_closed(struct listeners *listeners);
/* See who steers: listeners that others steer are instances no more, those that nobody steers are
 * steered again, and those that others steered are candidates. */
void listeners_check_steering(struct listeners *listeners);
/* Is there one that others steer? */
bool listeners_others_steer(const struct listeners *listeners);

/* listeners_outranked.c: if a listener has come or gone: who is outranked now? Says who has not
 * been before. */
void listeners_rank(struct listeners *listeners);

/* listeners_reown.c: instances whose process does not hold their listeners any more. */
void listeners_reown(struct listeners *listeners);

/* listeners_restore.c: what an earlier agent has adopted, from the pinned maps. */
int listeners_restore(struct listeners *listeners);

/* The group as its listeners are in the table. */
void listener_write_group(struct listeners *listeners, const struct group_key *key);
/* The instance as it is in the table, with the service that is shown for it. */
int listener_write_instance(struct listeners *listeners, unsigned int slot);

#endif
