/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The schema is a table for libcyaml, which reads the values and finds what does not fit. It tells
 * the path of what it was reading; its position is that of the key before, and its words are for
 * programmers. So the path is looked up in the tree, and the words come from the schema.
 */
#include "config_schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cyaml/cyaml.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT	 CYAML_FLAG_POINTER
#define MAX_NAME (NAME_SIZE - 1)
#define MAX_PATH 4000
#define MAX_SOME                                                                                   \
	255 /* characters of addresses and durations: enough for any, and for a message            \
	     */

static const cyaml_strval_t protocols[] = {{"tcp", IPPROTO_TCP}};
static const cyaml_strval_t distributions[] = {
	{"maglev", DISTRIBUTE_MAGLEV},
	{"leastconn", DISTRIBUTE_LEASTCONN},
	{"hotstandby", DISTRIBUTE_HOTSTANDBY},
};
static const cyaml_strval_t affinities[] = {
	{"requested", AFFINITY_BY_REQUEST},
	{"timed", AFFINITY_BY_TIME},
	{"none", AFFINITY_NONE},
};
static const cyaml_strval_t takeovers[] = {{"refuse", 0}, {"allow", 1}};
static const cyaml_strval_t standby_syncs[] = {{"continuous", 0}, {"on-failure", 1}};

static const cyaml_schema_value_t interface = {CYAML_VALUE_STRING(TEXT, char, 1, IF_NAMESIZE - 1)};
static const cyaml_schema_value_t some_text = {CYAML_VALUE_STRING(TEXT, char, 1, MAX_SOME)};

#define STRING(flags, type, member, longest)                                                       \
	CYAML_FIELD_STRING_PTR(#member, TEXT | (flags), struct type, member, 1, longest)
#define CHOICE(type, member, choices)                                                              \
	CYAML_FIELD_ENUM_PTR(#member, TEXT | OPTIONAL | CYAML_FLAG_STRICT, struct type, member,    \
			     choices, CYAML_ARRAY_LEN(choices))
#define NUMBER(type, member) CYAML_FIELD_UINT_PTR(#member, TEXT | OPTIONAL, struct type, member)
#define LIST(flags, type, member, entry, least, most)                                              \
	CYAML_FIELD_SEQUENCE(#member, TEXT | (flags), struct type, member, entry, least, most)
#define SECTION(flags, member, fields)                                                             \
	CYAML_FIELD_MAPPING_PTR(#member, TEXT | (flags), struct file, member, fields)

static const cyaml_schema_field_t service_fields[] = {
	STRING(0, file_service, name, MAX_NAME),
	STRING(0, file_service, address, MAX_SOME),
	CYAML_FIELD_UINT("port", CYAML_FLAG_DEFAULT, struct file_service, port),
	CHOICE(file_service, protocol, protocols),
	CHOICE(file_service, distribution, distributions),
	STRING(OPTIONAL, file_service, scope, MAX_NAME),
	CHOICE(file_service, affinity, affinities),
	STRING(OPTIONAL, file_service, affinity_idle, MAX_SOME),
	STRING(OPTIONAL, file_service, affinity_max_life, MAX_SOME),
	CHOICE(file_service, takeover, takeovers),
	NUMBER(file_service, client_prefix),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t service = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_service, service_fields)};

static const cyaml_schema_field_t router_fields[] = {
	LIST(0, file_router, interfaces, &interface, 1, CONFIG_MAX_INTERFACES),
	STRING(0, file_router, address, MAX_SOME),
	STRING(OPTIONAL, file_router, address6, MAX_SOME),
	STRING(OPTIONAL, file_router, listen, MAX_SOME),
	CHOICE(file_router, standby_sync, standby_syncs),
	STRING(OPTIONAL, file_router, hold_time, MAX_SOME),
	STRING(OPTIONAL, file_router, dead_time, MAX_SOME),
	LIST(OPTIONAL, file_router, services, &service, 0, MAX_SERVICES),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t target_fields[] = {
	LIST(0, file_target, interfaces, &interface, 1, CONFIG_MAX_INTERFACES),
	STRING(0, file_target, address, MAX_SOME),
	NUMBER(file_target, weight),
	LIST(0, file_target, routers, &some_text, 1, MAX_ROUTERS),
	LIST(0, file_target, service_addresses, &some_text, 1, MAX_SERVICES),
	STRING(OPTIONAL, file_target, cgroup, MAX_PATH),
	NUMBER(file_target, affinity_quota),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
	STRING(0, file_tls, ca, MAX_PATH),
	STRING(0, file_tls, certificate, MAX_PATH),
	STRING(0, file_tls, key, MAX_PATH),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t tables_fields[] = {
	NUMBER(file_tables, connections),
	NUMBER(file_tables, affinities),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t file_fields[] = {
	STRING(0, file, node, MAX_NAME),
	SECTION(OPTIONAL, router, router_fields),
	SECTION(OPTIONAL, target, target_fields),
	SECTION(0, tls, tls_fields),
	SECTION(OPTIONAL, tables, tables_fields),
	STRING(OPTIONAL, file, pin_path, MAX_PATH),
	STRING(OPTIONAL, file, runtime_directory, MAX_PATH),
	STRING(OPTIONAL, file, state_directory, MAX_PATH),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields)};

/* What libcyaml says of an error: the subject of its message, and the way there from the inside
 * out. */
#define MAX_STEPS 8

struct step {
	char key[64];	    /* of a mapping; empty: */
	unsigned int entry; /* of a sequence, from 1; 0: the mapping itself, between two keys */
};

struct complaint {
	char subject[128]; /* what follows the last ": " of the message: a key */
	struct step steps[MAX_STEPS];
	unsigned int count;
};

static void listen_to(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
	struct complaint *complaint = context;
	char line[512];
	struct step *step = &complaint->steps[complaint->count];
	const char *subject;

	if (level != CYAML_LOG_ERROR)
		return;
	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = 0;
	if (strncmp(line, "  in ", 5)) {
		subject = strrchr(line, ' ');
		if (!complaint->subject[0] && subject)
			snprintf(complaint->subject, sizeof(complaint->subject), "%.100s",
				 subject + 1);
		return;
	}
	if (complaint->count == MAX_STEPS)
		return;
	*step = (struct step){0};
	if (sscanf(line, "  in mapping field '%63[^']'", step->key) != 1)
		(void)!sscanf(line, "  in sequence entry '%u'", &step->entry);
	complaint->count++;
}

/* The path in the file, without the innermost `inner` steps; and the schema there. */
static const cyaml_schema_value_t *locate(const struct complaint *complaint, unsigned int inner,
					  char path[256])
{
	const cyaml_schema_value_t *value = &schema;
	size_t used = 0;

	path[0] = 0;
	for (unsigned int i = complaint->count; i > inner; i--) {
		const struct step *step = &complaint->steps[i - 1];
		const cyaml_schema_field_t *field;

		if (step->entry && value->type == CYAML_SEQUENCE) {
			used += snprintf(path + used, 256 - used, "[%u]", step->entry - 1);
			value = value->sequence.entry;
			continue;
		}
		if (!step->key[0] || value->type != CYAML_MAPPING)
			continue;
		for (field = value->mapping.fields; field->key; field++)
			if (!strcmp(field->key, step->key))
				break;
		if (!field->key)
			break;
		used += snprintf(path + used, 256 - used, "%s%s", used ? "." : "", step->key);
		value = &field->value;
	}
	return value;
}

/* "a, b, c" */
static const char *list_keys(const cyaml_schema_value_t *value, char *text, size_t size)
{
	size_t used = 0;

	text[0] = 0;
	for (const cyaml_schema_field_t *field = value->mapping.fields; field->key; field++)
		if (used < size)
			used += snprintf(text + used, size - used, "%s%s", used ? ", " : "",
					 field->key);
	return text;
}

static const char *list_choices(const cyaml_schema_value_t *value, char *text, size_t size)
{
	size_t used = 0;

	text[0] = 0;
	for (unsigned int i = 0; i < value->enumeration.count; i++)
		if (used < size)
			used += snprintf(text + used, size - used, "%s%s", used ? ", " : "",
					 value->enumeration.strings[i].str);
	return text;
}

/* What a value of this kind looks like. */
static const char *describe(const cyaml_schema_value_t *value, char *text, size_t size)
{
	char list[160];

	switch (value->type) {
	case CYAML_UINT:
		snprintf(text, size, "a number from 0 to %u (decimal digits, no leading zero)",
			 value->data_size >= 4 ? UINT32_MAX : (1U << (8 * value->data_size)) - 1);
		break;
	case CYAML_ENUM:
		snprintf(text, size, "one of %s", list_choices(value, list, sizeof(list)));
		break;
	case CYAML_SEQUENCE:
		snprintf(text, size, "a list of %u to %u entries: [a, b]", value->sequence.min,
			 value->sequence.max);
		break;
	case CYAML_MAPPING:
		snprintf(text, size, "a section with the keys %s",
			 list_keys(value, list, sizeof(list)));
		break;
	default:
		snprintf(text, size, "a text of %u to %u characters", value->string.min,
			 value->string.max);
	}
	return text;
}

/* Of a mapping: an unknown, doubled or missing key. The innermost step may be the key read before.
 */
static int explain_key(struct document *document, cyaml_err_t code,
		       const struct complaint *complaint, char error[CONFIG_ERROR])
{
	const char *key = complaint->subject;
	char path[256], list[256];
	const cyaml_schema_value_t *mapping = locate(complaint, 0, path);
	const char *in;

	if (mapping->type != CYAML_MAPPING || code != CYAML_ERR_INVALID_KEY)
		mapping = locate(complaint, complaint->count ? 1 : 0, path);
	in = path[0] ? " in " : "";
	if (code == CYAML_ERR_INVALID_KEY)
		return document_wrong(document, document_key_line(document, path, key, 0), error,
				      CONFIG_ERROR, "unknown key '%s'%s%s; known are %s", key, in,
				      path, list_keys(mapping, list, sizeof(list)));
	if (code == CYAML_ERR_MAPPING_FIELD_MISSING)
		return document_wrong(document, document_line(document, path), error, CONFIG_ERROR,
				      "key '%s' is missing%s%s", key, in, path);
	return document_wrong(document, document_key_line(document, path, key, 1), error,
			      CONFIG_ERROR, "key '%s'%s%s is given twice", key, in, path);
}

static int wrong_value(struct document *document, const char *path,
		       const cyaml_schema_value_t *value, char error[CONFIG_ERROR])
{
	char expected[256];
	yaml_node_t *node = document_find(document, path);
	bool scalar = node && node->type == YAML_SCALAR_NODE && node->data.scalar.length;

	return document_wrong(document, document_line(document, path), error, CONFIG_ERROR,
			      "%s%s%.40s%s is not %s", path[0] ? path : "the file",
			      scalar ? ": '" : "", scalar ? (char *)node->data.scalar.value : "",
			      scalar ? "'" : "", describe(value, expected, sizeof(expected)));
}

static int explain_value(struct document *document, const struct complaint *complaint,
			 char error[CONFIG_ERROR])
{
	char path[256];
	const cyaml_schema_value_t *value = locate(complaint, 0, path);

	return wrong_value(document, path, value, error);
}

static int explain(struct document *document, cyaml_err_t code, const struct complaint *complaint,
		   char error[CONFIG_ERROR])
{
	switch (code) {
	case CYAML_ERR_OOM:
		document_wrong(document, 0, error, CONFIG_ERROR, "out of memory");
		return -ENOMEM;
	case CYAML_ERR_INVALID_KEY:
	case CYAML_ERR_UNEXPECTED_EVENT:
	case CYAML_ERR_MAPPING_FIELD_MISSING:
		return explain_key(document, code, complaint, error);
	case CYAML_ERR_INVALID_VALUE:
	case CYAML_ERR_STRING_LENGTH_MIN:
	case CYAML_ERR_STRING_LENGTH_MAX:
	case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
	case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
		return explain_value(document, complaint, error);
	default:
		return document_wrong(document, 0, error, CONFIG_ERROR, "%s", cyaml_strerror(code));
	}
}

/* libcyaml takes 0100 for 64, and 8e1 for 8: it ends at what is no digit. */
static bool is_number(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	size_t length = node->data.scalar.length;

	if (!length || strspn(text, "0123456789") != length)
		return false;
	return text[0] != '0' || length == 1;
}

/* Every number below `path`, in a file that libcyaml has found to fit otherwise. */
static int check_numbers(struct document *document, const cyaml_schema_value_t *value,
			 const char *path, char error[CONFIG_ERROR])
{
	const yaml_node_t *node = document_find(document, path);
	char inner[256];
	int wrong = 0;

	if (!node)
		return 0;
	if (value->type == CYAML_UINT)
		return is_number(node) ? 0 : wrong_value(document, path, value, error);
	if (value->type == CYAML_SEQUENCE) {
		for (unsigned int i = 0; i < value->sequence.max && !wrong; i++) {
			snprintf(inner, sizeof(inner), "%s[%u]", path, i);
			if (!document_find(document, inner))
				break;
			wrong = check_numbers(document, value->sequence.entry, inner, error);
		}
		return wrong;
	}
	if (value->type != CYAML_MAPPING)
		return 0;
	for (const cyaml_schema_field_t *field = value->mapping.fields; field->key && !wrong;
	     field++) {
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] ? "." : "", field->key);
		wrong = check_numbers(document, &field->value, inner, error);
	}
	return wrong;
}

int file_load(struct document *document, struct file **file, char error[CONFIG_ERROR])
{
	struct complaint complaint = {0};
	cyaml_config_t settings = {
		.log_fn = listen_to,
		.log_ctx = &complaint,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	cyaml_data_t *data = NULL;
	cyaml_err_t code;
	int wrong;

	code = cyaml_load_data(document->text, document->length, &settings, &schema, &data, NULL);
	if (code != CYAML_OK)
		return explain(document, code, &complaint, error);
	wrong = check_numbers(document, &schema, "", error);
	if (wrong) {
		file_free(data);
		return wrong;
	}
	*file = data;
	return 0;
}

void file_free(struct file *file)
{
	cyaml_config_t settings = {.mem_fn = cyaml_mem};

	cyaml_free(&settings, &schema, file, 0);
}
