/* SPDX-License-Identifier: BSD-2-Clause */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const __u8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void from_ipv4(struct address *address, const struct in_addr *ipv4)
{
	memcpy(address->byte, mapped, sizeof(mapped));
	memcpy(address->byte + sizeof(mapped), ipv4, sizeof(*ipv4));
}

int address_parse(const char *text, struct address *address)
{
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		from_ipv4(address, &ipv4);
		return 0;
	}
	return inet_pton(AF_INET6, text, address->byte) == 1 ? 0 : -EINVAL;
}

/* Decimal digits alone, from 0 to `highest`: the number, or -EINVAL. */
static long parse_number(const char *text, long highest)
{
	size_t length = strlen(text);
	long number;

	if (!length || length > 6 || strspn(text, "0123456789") != length)
		return -EINVAL;
	number = strtol(text, NULL, 10);
	return number <= highest ? number : -EINVAL;
}

int endpoint_parse(const char *text, struct address *address, __be16 *port)
{
	char host[ADDRESS_TEXT];
	const char *colon = strrchr(text, ':');
	struct address parsed;
	size_t length;
	long number;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	length = colon - text;
	memcpy(host, text, length);
	host[length] = 0;
	if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
		memmove(host, host + 1, length - 2);
		host[length - 2] = 0;
		if (!strchr(host, ':'))
			return -EINVAL;
	} else if (strchr(host, ':')) {
		return -EINVAL; /* which colon would it be? */
	}

	number = parse_number(colon + 1, 65535);
	if (number < 1 || address_parse(host, &parsed))
		return -EINVAL;
	*address = parsed;
	*port = htons(number);
	return 0;
}

int prefix_parse(const char *text, struct prefix *prefix)
{
	char host[ADDRESS_TEXT];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct prefix parsed = {.length = 128};
	struct address masked;

	if (length >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, length);
	host[length] = 0;
	if (address_parse(host, &parsed.address))
		return -EINVAL;
	if (slash) {
		bool ipv4 = !strchr(host, ':');
		long number = parse_number(slash + 1, ipv4 ? 32 : 128);

		if (number < 0)
			return -EINVAL;
		parsed.length = ipv4 ? number + 96 : number;
	}

	masked = parsed.address;
	address_mask(&masked, parsed.length);
	if (!address_equal(&masked, &parsed.address))
		return -EINVAL;
	*prefix = parsed;
	return 0;
}

const char *address_format(const struct address *address, char text[ADDRESS_TEXT])
{
	if (address_is_ipv4(address))
		inet_ntop(AF_INET, address->byte + sizeof(mapped), text, ADDRESS_TEXT);
	else
		inet_ntop(AF_INET6, address->byte, text, ADDRESS_TEXT);
	return text;
}

const char *endpoint_format(const struct address *address, __be16 port, char text[ADDRESS_TEXT])
{
	char host[ADDRESS_TEXT];
	bool ipv4 = address_is_ipv4(address);

	address_format(address, host);
	/* An address takes at most 45 characters; the precision tells the compiler. */
	snprintf(text, ADDRESS_TEXT, ipv4 ? "%.45s:%u" : "[%.45s]:%u", host, ntohs(port));
	return text;
}

bool address_is_ipv4(const struct address *address)
{
	return !memcmp(address->byte, mapped, sizeof(mapped));
}

bool address_is_zero(const struct address *address)
{
	static const struct address zero;

	return address_equal(address, &zero);
}

bool address_is_any(const struct address *address)
{
	static const struct address any4 = {.byte = {[10] = 0xff, 0xff}};

	return address_is_zero(address) || address_equal(address, &any4);
}

bool address_equal(const struct address *a, const struct address *b)
{
	return !memcmp(a, b, sizeof(*a));
}

bool prefix_contains(const struct prefix *prefix, const struct address *address)
{
	struct address masked = *address;

	address_mask(&masked, prefix->length);
	return address_equal(&masked, &prefix->address);
}

void address_mask(struct address *address, unsigned int length)
{
	unsigned int whole = length / 8;

	if (length >= 128)
		return;
	address->byte[whole] &= (__u8)(0xff00 >> (length % 8));
	memset(address->byte + whole + 1, 0, sizeof(address->byte) - whole - 1);
}

void address_from_socket(const struct sockaddr *socket, struct address *address, __be16 *port)
{
	memset(address, 0, sizeof(*address));
	*port = 0;
	if (socket->sa_family == AF_INET) {
		const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)socket;

		from_ipv4(address, &ipv4->sin_addr);
		*port = ipv4->sin_port;
	} else if (socket->sa_family == AF_INET6) {
		const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)socket;

		memcpy(address->byte, &ipv6->sin6_addr, sizeof(address->byte));
		*port = ipv6->sin6_port;
	}
}

socklen_t address_to_socket(const struct address *address, __be16 port,
			    struct sockaddr_storage *socket)
{
	memset(socket, 0, sizeof(*socket));
	if (address_is_ipv4(address)) {
		struct sockaddr_in *ipv4 = (struct sockaddr_in *)socket;

		ipv4->sin_family = AF_INET;
		ipv4->sin_port = port;
		memcpy(&ipv4->sin_addr, address->byte + sizeof(mapped), sizeof(ipv4->sin_addr));
		return sizeof(*ipv4);
	}
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)socket;

	ipv6->sin6_family = AF_INET6;
	ipv6->sin6_port = port;
	memcpy(&ipv6->sin6_addr, address->byte, sizeof(address->byte));
	return sizeof(*ipv6);
}
