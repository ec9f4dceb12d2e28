/* SPDX-License-Identifier: BSD-2-Clause */
#include "document.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (1 << 20)

/* The whole file, at most MAX_FILE bytes. */
static int read_file(struct document *document)
{
	FILE *file = fopen(document->file, "re");
	int error = 0;

	if (!file)
		return -errno;
	document->text = malloc(MAX_FILE + 1);
	if (!document->text) {
		fclose(file);
		return -ENOMEM;
	}
	document->length = fread(document->text, 1, MAX_FILE + 1, file);
	if (ferror(file))
		error = errno ? -errno : -EIO;
	else if (document->length > MAX_FILE)
		error = -EFBIG;
	fclose(file);
	return error;
}

static int not_yaml(const struct document *document, const yaml_parser_t *parser, char *error,
		    size_t size)
{
	return document_wrong(document, (unsigned int)parser->problem_mark.line + 1, error, size,
			      "%s", parser->problem ? parser->problem : "not YAML");
}

/* What follows the document: nothing, or it would be silently without effect. */
static int parse_end(const struct document *document, yaml_parser_t *parser, char *error,
		     size_t size)
{
	yaml_document_t second;
	int result = 0;

	if (!yaml_parser_load(parser, &second))
		return not_yaml(document, parser, error, size);
	if (yaml_document_get_root_node(&second))
		result = document_wrong(document, (unsigned int)second.start_mark.line + 1, error,
					size,
					"a second YAML document begins here; a configuration is "
					"one document");
	yaml_document_delete(&second);
	return result;
}

static int parse(struct document *document, char *error, size_t size)
{
	yaml_parser_t parser;
	int result;

	if (!yaml_parser_initialize(&parser)) {
		snprintf(error, size, "%s: out of memory", document->file);
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&parser, document->text, document->length);
	if (!yaml_parser_load(&parser, &document->tree)) {
		result = not_yaml(document, &parser, error, size);
		yaml_parser_delete(&parser);
		return result;
	}
	result = parse_end(document, &parser, error, size);
	yaml_parser_delete(&parser);
	if (result)
		yaml_document_delete(&document->tree);
	return result;
}

int document_open(struct document *document, const char *file, char *error, size_t size)
{
	int result;

	*document = (struct document){.file = file};
	result = read_file(document);
	if (result) {
		snprintf(error, size, "%s: cannot be read: %s", file, strerror(-result));
		free(document->text);
		return result;
	}
	result = parse(document, error, size);
	if (result) {
		free(document->text);
		return result;
	}
	if (!yaml_document_get_root_node(&document->tree)) {
		snprintf(error, size,
			 "%s:1: the file is empty; a configuration needs node, tls, "
			 "and router or target",
			 file);
		document_close(document);
		return -EINVAL;
	}
	return 0;
}

void document_close(struct document *document)
{
	yaml_document_delete(&document->tree);
	free(document->text);
}

/* The nth pair with this key, or NULL. */
static yaml_node_pair_t *find_pair(struct document *document, yaml_node_t *mapping, const char *key,
				   size_t length, unsigned int nth)
{
	yaml_node_pair_t *pair;

	if (mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top;
	     pair++) {
		yaml_node_t *node = yaml_document_get_node(&document->tree, pair->key);

		if (node->type != YAML_SCALAR_NODE || node->data.scalar.length != length ||
		    memcmp(node->data.scalar.value, key, length))
			continue;
		if (!nth--)
			return pair;
	}
	return NULL;
}

static yaml_node_t *find_item(struct document *document, yaml_node_t *sequence, size_t index)
{
	if (sequence->type != YAML_SEQUENCE_NODE)
		return NULL;
	if (index >=
	    (size_t)(sequence->data.sequence.items.top - sequence->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(&document->tree, sequence->data.sequence.items.start[index]);
}

/* Follow the path as far as it goes; *whole says whether that was to its end. */
static yaml_node_t *follow(struct document *document, const char *path, int *whole)
{
	yaml_node_t *node = yaml_document_get_root_node(&document->tree);

	*whole = 0;
	while (*path) {
		yaml_node_t *next = NULL;

		if (*path == '[') {
			char *end;
			unsigned long index = strtoul(path + 1, &end, 10);

			next = find_item(document, node, index);
			path = end + 1;
		} else {
			size_t length;
			yaml_node_pair_t *pair;

			path += *path == '.';
			length = strcspn(path, ".[");
			pair = find_pair(document, node, path, length, 0);
			if (pair)
				next = yaml_document_get_node(&document->tree, pair->value);
			path += length;
		}
		if (!next)
			return node;
		node = next;
	}
	*whole = 1;
	return node;
}

yaml_node_t *document_find(struct document *document, const char *path)
{
	int whole;
	yaml_node_t *node = follow(document, path, &whole);

	return whole ? node : NULL;
}

unsigned int document_line(struct document *document, const char *path)
{
	int whole;

	return (unsigned int)follow(document, path, &whole)->start_mark.line + 1;
}

unsigned int document_key_line(struct document *document, const char *path, const char *key,
			       unsigned int nth)
{
	int whole;
	yaml_node_t *node = follow(document, path, &whole);
	yaml_node_pair_t *pair = find_pair(document, node, key, strlen(key), nth);

	if (pair)
		node = yaml_document_get_node(&document->tree, pair->key);
	return (unsigned int)node->start_mark.line + 1;
}

int document_wrong(const struct document *document, unsigned int line, char *error, size_t size,
		   const char *format, ...)
{
	va_list arguments;
	int used;

	if (line)
		used = snprintf(error, size, "%s:%u: ", document->file, line);
	else
		used = snprintf(error, size, "%s: ", document->file);
	if (used < 0 || (size_t)used >= size)
		return -EINVAL;
	va_start(arguments, format);
	vsnprintf(error + used, size - used, format, arguments);
	va_end(arguments);
	/* A value may have line ends; the message is one line. */
	for (char *c = error + used; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return -EINVAL;
}
