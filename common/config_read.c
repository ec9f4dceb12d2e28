/* SPDX-License-Identifier: BSD-2-Clause */
#include "config_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* Neither zero nor multicast. */
static bool is_host(const struct address *address)
{
	if (address_is_ipv4(address))
		return address->byte[12] && address->byte[12] < 224;
	return !address_is_zero(address) && address->byte[0] != 0xff;
}

static bool is_loopback(const struct address *address)
{
	static const struct address one = {.byte = {[15] = 1}};

	if (address_is_ipv4(address))
		return address->byte[12] == 127;
	return address_equal(address, &one);
}

int read_address(struct reading *reading, const char *path, const char *text,
		 struct address *address)
{
	if (address_parse(text, address))
		return WRONG(reading, path, "%s: '%.60s' is not an IPv4 or IPv6 address", path,
			     text);
	if (!is_host(address))
		return WRONG(reading, path, "%s: %.60s is not the address of a host", path, text);
	if (is_loopback(address))
		return WRONG(reading, path, "%s: %.60s is the loopback: no other host reaches it",
			     path, text);
	if (address->byte[0] == 0xfe && (address->byte[1] & 0xc0) == 0x80)
		return WRONG(reading, path,
			     "%s: %.60s is link-local: it is another host's on each link", path,
			     text);
	return 0;
}

int read_endpoint(struct reading *reading, const char *path, const char *text,
		  struct address *address, __be16 *port, bool any)
{
	if (endpoint_parse(text, address, port))
		return WRONG(reading, path,
			     "%s: '%.60s' is not ADDRESS:PORT, for example 10.7.0.2:%u or "
			     "[2001:db8::2]:%u",
			     path, text, WIRE_PORT, WIRE_PORT);
	if (!is_host(address) && !(any && address_is_any(address)))
		return WRONG(reading, path, "%s: %.60s is not the address of a host", path, text);
	return 0;
}

/* Names appear on the wire, in file names and in what people type. */
int read_name(struct reading *reading, const char *path, const char *text, char name[NAME_SIZE])
{
	if (text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_")])
		return WRONG(reading, path,
			     "%s: '%.40s' has a character other than a-z, 0-9, '.', '-' and '_'",
			     path, text);
	if (text[0] == '.' || text[0] == '-')
		return WRONG(reading, path, "%s: '%.40s' does not begin with a letter or digit",
			     path, text);
	snprintf(name, NAME_SIZE, "%s", text);
	return 0;
}

static bool parse_duration(const char *text, uint64_t *ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t digits = strspn(text, "0123456789");

	if (!digits || digits > 10)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(text + digits, units[i].name))
			continue;
		*ms = strtoull(text, NULL, 10) * units[i].ms;
		return true;
	}
	return false;
}

int read_duration(struct reading *reading, const char *path, const char *text, uint32_t most,
		  uint32_t *ms)
{
	uint64_t number;

	if (!text)
		return 0;
	if (!parse_duration(text, &number))
		return WRONG(reading, path,
			     "%s: '%.40s' is not a duration, for example 500ms, 30s, 5m, 1h", path,
			     text);
	if (number > most)
		return WRONG(reading, path, "%s: %.40s is more than %us", path, text, most / 1000);
	*ms = (uint32_t)number;
	return 0;
}

int read_interfaces(struct reading *reading, const char *section, char **names, unsigned int count,
		    char interfaces[][IF_NAMESIZE])
{
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int j = 0; j < i; j++) {
			if (strcmp(names[i], names[j]))
				continue;
			AT(reading, "%s.interfaces[%u]", section, i);
			return WRONG(reading, reading->path, "%s: %s is named twice", reading->path,
				     names[i]);
		}
		snprintf(interfaces[i], IF_NAMESIZE, "%s", names[i]);
	}
	return 0;
}

char *read_path(struct reading *reading, const char *path)
{
	const char *config_path = reading->config->path;
	const char *slash = strrchr(config_path, '/');
	char *directory, *result = NULL;

	if (path[0] == '/')
		return strdup(path);
	directory = slash ? strndup(config_path, slash - config_path + 1) : strdup(".");
	if (directory) {
		char *real = realpath(directory, NULL);

		if (real && asprintf(&result, "%s/%s", strcmp(real, "/") ? real : "", path) < 0)
			result = NULL;
		free(real);
	}
	free(directory);
	return result;
}
