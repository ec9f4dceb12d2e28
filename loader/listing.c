/* SPDX-License-Identifier: BSD-2-Clause */
#include "listing.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void print_title(const struct column *column, bool last)
{
	const char *text = column->title ? column->title : column->member;
	char title[64];
	size_t i;

	for (i = 0; text[i] && i < sizeof(title) - 1; i++)
		title[i] = text[i] == '_' ? '-' : (char)toupper((unsigned char)text[i]);
	title[i] = '\0';
	printf("%*s%s", last && column->width > 0 ? 0 : -column->width, title, last ? "\n" : "  ");
}

void listing_begin(struct listing *listing, const struct column *columns, bool json)
{
	*listing = (struct listing){.columns = columns, .json = json};
	if (json) {
		fputs("[", stdout);
		return;
	}
	for (const struct column *column = columns; column->member; column++)
		print_title(column, !column[1].member);
}

static void print_row(const struct column *columns, struct json_object *row)
{
	for (const struct column *column = columns; column->member; column++) {
		struct json_object *value = NULL;
		bool last = !column[1].member;
		const char *text;

		json_object_object_get_ex(row, column->member, &value);
		text = value ? json_object_get_string(value) : "-";
		if (!*text)
			text = "-";
		printf("%*s%s", last && column->width > 0 ? 0 : -column->width, text,
		       last ? "\n" : "  ");
	}
}

void listing_row(struct listing *listing, struct json_object *row)
{
	if (listing->json)
		printf("%s\n  %s", listing->rows ? "," : "",
		       json_object_to_json_string_ext(row, JSON_C_TO_STRING_PLAIN));
	else
		print_row(listing->columns, row);
	listing->rows++;
	json_object_put(row);
}

void listing_end(struct listing *listing)
{
	if (listing->json)
		puts(listing->rows ? "\n]" : "]");
	fflush(stdout);
}
