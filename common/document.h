/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * document.h - a YAML file as a tree that knows its lines: where in the file a value stands that
 * turned out to be wrong. For config.c and its parts only.
 */
#ifndef LIMPET_DOCUMENT_H
#define LIMPET_DOCUMENT_H

#include <stddef.h>

#include <yaml.h>

struct document {
	const char *file; /* as it was named, for messages */
	unsigned char *text;
	size_t length;
	yaml_document_t tree;
};

/* Read and parse: 0, or -errno with "FILE[:LINE]: what is wrong" in error. `file` is kept.
 * More than one YAML document is wrong. */
int document_open(struct document *document, const char *file, char *error, size_t size);
void document_close(struct document *document);

/* The value at "router.services[1].port"; the empty path is the whole. NULL: not there. */
yaml_node_t *document_find(struct document *document, const char *path);
/* The line of that value, or of the nearest above it that is there. */
unsigned int document_line(struct document *document, const char *path);
/* The line of the nth (from 0) `key` in the mapping at `path`; the mapping's when it is not there.
 */
unsigned int document_key_line(struct document *document, const char *path, const char *key,
			       unsigned int nth);

/* "FILE:LINE: what is wrong" into error; returns -EINVAL. Line 0: of no line in particular. */
__attribute__((format(printf, 5, 6))) int document_wrong(const struct document *document,
							 unsigned int line, char *error,
							 size_t size, const char *format, ...);

#endif
