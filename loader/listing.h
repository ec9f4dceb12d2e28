/* SPDX-License-Identifier: BSD-2-Clause */
/* listing.h - rows of a list, printed as they come: as a table, or as a JSON array of objects. A
 * table is about 100 characters wide, so it may have fewer columns than the JSON has members. */
#ifndef LIMPET_LISTING_H
#define LIMPET_LISTING_H

#include <json-c/json.h>
#include <stdbool.h>

struct column {
	const char *member; /* of the row */
	int width;	    /* at least; negative: numbers, to the right */
	const char *title;  /* NULL: the member's name in capitals, '_' as '-' */
};

struct listing {
	const struct column *columns; /* ends with a NULL member */
	bool json;
	unsigned long rows;
};

void listing_begin(struct listing *listing, const struct column *columns, bool json);
void listing_row(struct listing *listing, struct json_object *row); /* takes the reference */
void listing_end(struct listing *listing);

#endif
