/* SPDX-License-Identifier: BSD-2-Clause */
#include "codec.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "siphash.h"

/*
 * A bounded cursor that reads or writes, with a sticky error. Each message has one visitor, which
 * serves both directions, so that they cannot differ.
 */
struct cursor {
	uint8_t *at;
	size_t left;
	bool writing;
	bool overflow;	   /* writing: no room */
	const char *error; /* the first thing that was wrong */
};

static void fail(struct cursor *c, const char *why)
{
	if (!c->error)
		c->error = why;
}

/* The next `size` bytes, or NULL. */
static uint8_t *take(struct cursor *c, size_t size)
{
	uint8_t *at = c->at;

	if (c->error)
		return NULL;
	if (size > c->left) {
		c->overflow = c->writing;
		fail(c, "message too short");
		return NULL;
	}
	c->at += size;
	c->left -= size;
	return at;
}

static void visit_bytes(struct cursor *c, void *bytes, size_t size)
{
	uint8_t *at = take(c, size);

	if (!at)
		return;
	if (c->writing)
		memcpy(at, bytes, size);
	else
		memcpy(bytes, at, size);
}

static void visit_u8(struct cursor *c, uint8_t *value, uint8_t min, uint8_t max, const char *why)
{
	if (c->writing && (*value < min || *value > max))
		fail(c, why);
	visit_bytes(c, value, 1);
	if (!c->error && (*value < min || *value > max))
		fail(c, why);
}

static void visit_u16(struct cursor *c, uint16_t *value)
{
	uint16_t wire = htobe16(*value);

	visit_bytes(c, &wire, sizeof(wire));
	*value = be16toh(wire);
}

static void visit_u32(struct cursor *c, uint32_t *value)
{
	uint32_t wire = htobe32(*value);

	visit_bytes(c, &wire, sizeof(wire));
	*value = be32toh(wire);
}

static void visit_u64(struct cursor *c, uint64_t *value)
{
	uint64_t wire = htobe64(*value);

	visit_bytes(c, &wire, sizeof(wire));
	*value = be64toh(wire);
}

/* Truth values in one byte, the first in bit 0. */
static void visit_flags(struct cursor *c, bool *const values[], unsigned int count)
{
	uint8_t flags = 0;

	for (unsigned int i = 0; i < count; i++)
		flags |= (uint8_t)(*values[i] << i);
	visit_u8(c, &flags, 0, (uint8_t)((1U << count) - 1), "unknown flags");
	for (unsigned int i = 0; i < count; i++)
		*values[i] = flags >> i & 1;
}

static void visit_address(struct cursor *c, struct address *address)
{
	visit_bytes(c, address->byte, sizeof(address->byte));
}

static bool name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool wire_name_valid(const char name[NAME_SIZE])
{
	size_t length = strnlen(name, NAME_SIZE);

	if (length == 0 || length == NAME_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!name_character(name[i]))
			return false;
	return true;
}

static void visit_name(struct cursor *c, char name[NAME_SIZE])
{
	uint8_t length = (uint8_t)strnlen(name, NAME_SIZE);

	if (c->writing && !wire_name_valid(name))
		fail(c, "bad name");
	visit_u8(c, &length, 1, NAME_SIZE - 1, "bad length of a name");
	if (c->error)
		return;
	if (!c->writing)
		memset(name, 0, NAME_SIZE);
	visit_bytes(c, name, length);
	if (!c->error && (name[length] || strlen(name) != length || !wire_name_valid(name)))
		fail(c, "bad character in a name");
}

/* For the log: what is not printable arrives as a question mark. */
static void visit_text(struct cursor *c, char text[256])
{
	uint8_t length = (uint8_t)strnlen(text, 255);

	visit_u8(c, &length, 0, 255, "");
	if (c->error)
		return;
	if (!c->writing)
		memset(text, 0, 256);
	visit_bytes(c, text, length);
	if (c->writing || c->error)
		return;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
}

static void visit_service_key(struct cursor *c, struct service_key *key)
{
	if (!c->writing)
		key->zero = 0;
	visit_address(c, &key->address);
	visit_bytes(c, &key->port, sizeof(key->port));
	visit_u8(c, &key->protocol, 1, 255, "no protocol in a service");
	if (!c->error && !key->port)
		fail(c, "no port in a service");
}

static void visit_term(struct cursor *c, struct term *term)
{
	visit_u64(c, &term->clock);
	visit_u64(c, &term->router);
}

static void visit_given_term(struct cursor *c, struct term *term)
{
	visit_term(c, term);
	if (!c->error && !term->clock)
		fail(c, "no term");
}

/* ------------------------------------------------------------------------------------------------
 * one visitor a message */

static void visit_hello(struct cursor *c, struct message *message)
{
	struct message_hello *hello = &message->hello;
	uint32_t magic = WIRE_MAGIC;

	visit_u32(c, &magic);
	if (!c->error && magic != WIRE_MAGIC)
		fail(c, "not a Limpet peer: wrong magic");
	visit_u16(c, &hello->version);
	if (c->error)
		return;
	if (hello->version != WIRE_VERSION && !c->writing) {
		take(c, c->left);
		return;
	}
	visit_u16(c, &hello->role);
	if (!c->error && hello->role != WIRE_TARGET && hello->role != WIRE_ROUTER)
		fail(c, "unknown role");
	visit_u64(c, &hello->node_id);
	visit_u64(c, &hello->clock);
	visit_name(c, hello->name);
	visit_address(c, &hello->address);
	visit_address(c, &hello->address6);
	visit_u64(c, &hello->digest_key[0]);
	visit_u64(c, &hello->digest_key[1]);
}

static void visit_service(struct cursor *c, struct message *message)
{
	struct message_service *service = &message->service;

	visit_name(c, service->name);
	visit_name(c, service->scope);
	visit_service_key(c, &service->key);
	visit_u8(c, &service->affinity, AFFINITY_NONE, AFFINITY_BY_TIME, "unknown affinity mode");
	visit_u8(c, &service->client_prefix, 0, 128, "client prefix longer than 128");
	visit_u8(c, &service->takeover, 0, 1, "takeover is neither 0 nor 1");
	visit_u32(c, &service->idle_ms);
	visit_u32(c, &service->max_life_ms);
}

static void visit_target(struct cursor *c, struct message *message)
{
	struct message_target *target = &message->target;

	visit_u32(c, &target->weight);
	visit_u32(c, &target->instances);
	visit_flags(c,
		    (bool *const[]){&target->draining, &target->end_affinities, &target->crowded},
		    3);
}

static void visit_ready(struct cursor *c, struct message *message)
{
	visit_service_key(c, &message->ready.service);
	visit_u32(c, &message->ready.instances);
	visit_u32(c, &message->ready.draining);
	visit_u32(c, &message->ready.connections);
}

static void visit_affinity(struct cursor *c, struct message *message)
{
	visit_name(c, message->affinity.scope);
	visit_address(c, &message->affinity.client);
	visit_u64(c, &message->affinity.id);
	visit_term(c, &message->affinity.term);
	visit_flags(c, (bool *const[]){&message->affinity.takeover}, 1);
}

static void visit_affinity_end(struct cursor *c, struct message *message)
{
	visit_name(c, message->affinity_end.scope);
	visit_address(c, &message->affinity_end.client);
}

static void visit_connection(struct cursor *c, struct message *message)
{
	struct message_connection *connection = &message->connection;

	visit_service_key(c, &connection->service);
	visit_address(c, &connection->client);
	visit_bytes(c, &connection->client_port, sizeof(connection->client_port));
}

static void visit_connection_end(struct cursor *c, struct message *message)
{
	visit_connection(c, message);
	visit_u8(c, &message->connection.how, CONNECTION_END_CLOSED, CONNECTION_END_RESET,
		 "unknown end of a connection");
}

static void visit_list(struct cursor *c, struct message *message)
{
	visit_u32(c, &message->list.number);
}

static void visit_nothing(struct cursor *c, struct message *message)
{
	(void)c;
	(void)message;
}

static void visit_answer(struct cursor *c, struct message *message)
{
	visit_name(c, message->answer.scope);
	visit_address(c, &message->answer.client);
	visit_u64(c, &message->answer.id);
	visit_given_term(c, &message->answer.term);
}

static void visit_refuse(struct cursor *c, struct message *message)
{
	visit_name(c, message->answer.scope);
	visit_address(c, &message->answer.client);
	visit_u64(c, &message->answer.id);
	visit_u8(c, &message->answer.reason, REFUSE_HELD, REFUSE_SERVICE,
		 "unknown reason of a refusal");
}

static void visit_role(struct cursor *c, struct message *message)
{
	visit_u32(c, &message->role.epoch);
	visit_u8(c, &message->role.role, ROLE_STANDBY, ROLE_ACTIVE, "unknown role");
}

static void visit_barrier(struct cursor *c, struct message *message)
{
	visit_u32(c, &message->role.epoch);
}

static void visit_digest(struct cursor *c, struct message *message)
{
	visit_u32(c, &message->digest.services);
	visit_u64(c, &message->digest.connections);
	visit_u64(c, &message->digest.connections_sum);
	visit_u64(c, &message->digest.affinities);
	visit_u64(c, &message->digest.affinities_sum);
}

static void visit_heartbeat(struct cursor *c, struct message *message)
{
	visit_u64(c, &message->heartbeat.clock);
	visit_u64(c, &message->heartbeat.probe_small);
	visit_u64(c, &message->heartbeat.probe_full);
}

static void visit_goodbye(struct cursor *c, struct message *message)
{
	visit_u16(c, &message->goodbye.reason);
	if (!c->error && !message->goodbye.reason)
		fail(c, "no reason");
	visit_text(c, message->goodbye.text);
}

/* ------------------------------------------------------------------------------------------------
 * frames */

#define NAME_MIN (1 + 1)
#define NAME_MAX (1 + NAME_SIZE - 1)

/* Bounds of the payload, checked before anything is waited for. HELLO's are wide enough for other
 * versions. */
static const struct format {
	const char *name;
	void (*visit)(struct cursor *, struct message *);
	uint16_t min, max;
} formats[MESSAGE_TYPES] = {
	[MESSAGE_HELLO] = {"HELLO", visit_hello, 6, 512},
	[MESSAGE_SERVICE] = {"SERVICE", visit_service, 30 + 2 * NAME_MIN, 30 + 2 * NAME_MAX},
	[MESSAGE_TARGET] = {"TARGET", visit_target, 9, 9},
	[MESSAGE_READY] = {"READY", visit_ready, 31, 31},
	[MESSAGE_AFFINITY] = {"AFFINITY", visit_affinity, 41 + NAME_MIN, 41 + NAME_MAX},
	[MESSAGE_AFFINITY_END] = {"AFFINITY_END", visit_affinity_end, 16 + NAME_MIN, 16 + NAME_MAX},
	[MESSAGE_CONNECTION] = {"CONNECTION", visit_connection, 37, 37},
	[MESSAGE_CONNECTION_END] = {"CONNECTION_END", visit_connection_end, 38, 38},
	[MESSAGE_BEGIN] = {"BEGIN", visit_list, 4, 4},
	[MESSAGE_DONE] = {"DONE", visit_list, 4, 4},
	[MESSAGE_SYNC] = {"SYNC", visit_nothing, 0, 0},
	[MESSAGE_GRANT] = {"GRANT", visit_answer, 40 + NAME_MIN, 40 + NAME_MAX},
	[MESSAGE_REFUSE] = {"REFUSE", visit_refuse, 25 + NAME_MIN, 25 + NAME_MAX},
	[MESSAGE_LOST] = {"LOST", visit_answer, 40 + NAME_MIN, 40 + NAME_MAX},
	[MESSAGE_ROLE] = {"ROLE", visit_role, 5, 5},
	[MESSAGE_BARRIER] = {"BARRIER", visit_barrier, 4, 4},
	[MESSAGE_DIGEST] = {"DIGEST", visit_digest, 36, 36},
	[MESSAGE_HEARTBEAT] = {"HEARTBEAT", visit_heartbeat, 24, 24},
	[MESSAGE_GOODBYE] = {"GOODBYE", visit_goodbye, 3, 258},
};

static const struct format *format_of(uint8_t type)
{
	return type < MESSAGE_TYPES && formats[type].visit ? &formats[type] : NULL;
}

const char *message_name(uint8_t type)
{
	const struct format *format = format_of(type);

	return format ? format->name : "unknown message";
}

ssize_t message_encode(const struct message *message, uint8_t *out, size_t size)
{
	const struct format *format = format_of(message->type);
	struct message copy = *message;
	struct cursor c = {.writing = true};
	size_t length;

	if (!format)
		return -EINVAL;
	if (size < WIRE_HEADER)
		return -EMSGSIZE;
	c.at = out + WIRE_HEADER;
	c.left = size - WIRE_HEADER;
	format->visit(&c, &copy);
	if (c.error)
		return c.overflow ? -EMSGSIZE : -EINVAL;
	length = (size_t)(c.at - out) - WIRE_HEADER;
	out[0] = (uint8_t)(length >> 8);
	out[1] = (uint8_t)length;
	out[2] = message->type;
	out[3] = 0;
	return (ssize_t)(WIRE_HEADER + length);
}

static const char *check_header(const uint8_t *in, const struct format **format)
{
	size_t length = (size_t)in[0] << 8 | in[1];

	*format = format_of(in[2]);
	if (in[3])
		return "bad frame header";
	if (!*format)
		return "unknown message type";
	if (length < (*format)->min)
		return "message too short";
	if (length > (*format)->max)
		return "message too long";
	return NULL;
}

ssize_t message_decode(const uint8_t *in, size_t length, struct message *message, const char **why)
{
	const struct format *format;
	struct message read;
	struct cursor c = {.writing = false};
	size_t payload;

	if (length < WIRE_HEADER)
		return 0;
	*why = check_header(in, &format);
	if (*why)
		return -EPROTO;
	payload = (size_t)in[0] << 8 | in[1];
	if (length - WIRE_HEADER < payload)
		return 0;

	memset(&read, 0, sizeof(read));
	read.type = in[2];
	c.at = (uint8_t *)in + WIRE_HEADER; /* a reading cursor writes nothing there */
	c.left = payload;
	format->visit(&c, &read);
	if (!c.error && c.left)
		fail(&c, "bytes left over in a message");
	if (c.error) {
		*why = c.error;
		return -EPROTO;
	}
	*message = read;
	return (ssize_t)(WIRE_HEADER + payload);
}

uint64_t message_sum(const struct message *message, const uint64_t key[2])
{
	uint8_t frame[WIRE_HEADER + 128];
	ssize_t length;

	if (message->type != MESSAGE_CONNECTION && message->type != MESSAGE_AFFINITY)
		return 0;
	length = message_encode(message, frame, sizeof(frame));
	return length < 0 ? 0 : siphash(key, frame + WIRE_HEADER, (size_t)length - WIRE_HEADER);
}
