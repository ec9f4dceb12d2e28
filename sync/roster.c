/* SPDX-License-Identifier: BSD-2-Clause */
#include "roster.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"

#define ROSTER_BYTES_MAX (1024 * 1024) /* MAX_TARGETS entries are half of it */

static const char *string_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

/* NULL, or what is wrong. */
static const char *parse_entry(struct json_object *object, struct roster_entry *entry)
{
	const char *name, *id, *address;
	char *end;

	if (!json_object_is_type(object, json_type_object))
		return "an entry is not an object";
	name = string_of(object, "name");
	if (!name || !name[0] || strlen(name) >= NAME_SIZE)
		return "an entry has no name, or one that is too long";
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	id = string_of(object, "node_id");
	if (!id || strlen(id) != 16)
		return "an entry's node_id is not 16 hexadecimal digits";
	entry->node_id = strtoull(id, &end, 16);
	if (*end)
		return "an entry's node_id is not 16 hexadecimal digits";
	address = string_of(object, "address");
	if (!address || address_parse(address, &entry->address))
		return "an entry's address is none";
	return NULL;
}

static int parse(const char *text, struct roster_entry **entries, const char **why)
{
	struct json_object *array = json_tokener_parse(text);
	struct roster_entry *list = NULL;
	size_t count;

	*why = "it is not a JSON array";
	if (!json_object_is_type(array, json_type_array))
		goto out;
	count = json_object_array_length(array);
	*why = "it has more entries than there can be targets";
	if (count > MAX_TARGETS)
		goto out;
	list = calloc(count + 1, sizeof(*list));
	for (size_t i = 0; i < count; i++) {
		*why = list ? parse_entry(json_object_array_get_idx(array, i), &list[i])
			    : "no memory";
		if (*why)
			goto out;
	}
	json_object_put(array);
	*entries = list;
	return (int)count;
out:
	free(list);
	json_object_put(array);
	return -EINVAL;
}

static int read_text(const char *path, char **text)
{
	FILE *file = fopen(path, "re");
	size_t length;
	int error = 0;

	if (!file)
		return -errno;
	*text = malloc(ROSTER_BYTES_MAX + 1);
	length = *text ? fread(*text, 1, ROSTER_BYTES_MAX + 1, file) : 0;
	if (!*text)
		error = -ENOMEM;
	else if (ferror(file))
		error = -EIO;
	else if (length > ROSTER_BYTES_MAX)
		error = -EFBIG;
	else
		(*text)[length] = 0;
	if (error)
		free(*text);
	fclose(file);
	return error;
}

int roster_read(const char *path, struct roster_entry **entries, const char **why)
{
	char *text = NULL;
	int result = read_text(path, &text);

	*entries = NULL;
	if (result == -ENOENT)
		return 0;
	if (result) {
		*why = strerror(-result);
		return result;
	}
	result = parse(text, entries, why);
	free(text);
	return result;
}

static struct json_object *format(const struct roster_entry *entries, size_t count)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < count; i++) {
		struct json_object *entry = json_object_new_object();
		char id[17], address[ADDRESS_TEXT];

		snprintf(id, sizeof(id), "%016" PRIx64, entries[i].node_id);
		address_format(&entries[i].address, address);
		json_object_object_add(entry, "name", json_object_new_string(entries[i].name));
		json_object_object_add(entry, "node_id", json_object_new_string(id));
		json_object_object_add(entry, "address", json_object_new_string(address));
		json_object_array_add(array, entry);
	}
	return array;
}

/* The new name is on disk only when the directory is. */
static int sync_directory(const char *path)
{
	char directory[4096];
	const char *slash = strrchr(path, '/');
	int fd, error = 0;

	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) : 1,
		 slash ? path : ".");
	fd = open(directory[0] ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		error = -errno;
	close(fd);
	return error;
}

int roster_write(const char *path, const struct roster_entry *entries, size_t count)
{
	struct json_object *array = format(entries, count);
	const char *text = json_object_to_json_string_ext(array, JSON_C_TO_STRING_PRETTY);
	char new[4096 + 8];
	FILE *file;
	int error = 0;

	snprintf(new, sizeof(new), "%.4090s.new", path);
	file = fopen(new, "we");
	if (!file) {
		error = -errno;
		goto out;
	}
	if (fprintf(file, "%s\n", text) < 0 || fflush(file) || fsync(fileno(file)))
		error = -errno;
	fclose(file);
	if (!error && rename(new, path))
		error = -errno;
	if (error)
		unlink(new);
	else
		error = sync_directory(path);
out:
	json_object_put(array);
	return error;
}
