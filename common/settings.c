/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings.h"

#include <errno.h>
#include <string.h>

#include "document.h"

void settings_from(const struct config *config, struct settings *settings)
{
	memset(settings, 0, sizeof(*settings));
	settings->hold_ns = config->router.hold_ms * 1000000ULL;
	settings->is_router = config->has_router;
	settings->is_target = config->has_target;
	if (config->has_router) {
		if (address_is_ipv4(&config->router.address))
			settings->source4 = config->router.address;
		settings->source6 = config->router.address6;
	}
	if (config->has_target)
		settings->target = config->target.address;
}

static int say(const struct config *config, const char *key, const struct address *loaded,
	       char error[CONFIG_ERROR])
{
	char text[ADDRESS_TEXT] = "none";
	struct document document;

	if (document_open(&document, config->path, error, CONFIG_ERROR))
		return -EBUSY;
	if (!address_is_zero(loaded))
		address_format(loaded, text);
	document_wrong(&document, document_line(&document, key), error, CONFIG_ERROR,
		       "%s: loaded with %s; another address needs `limpet unload` and `limpet "
		       "load`",
		       key, text);
	document_close(&document);
	return -EBUSY;
}

int settings_check(const struct config *config, const struct settings *loaded,
		   char error[CONFIG_ERROR])
{
	const char *second =
		address_is_ipv4(&config->router.address) ? "router.address6" : "router.address";
	struct settings settings;

	settings_from(config, &settings);
	if (loaded->is_router && settings.is_router) {
		if (!address_equal(&settings.source4, &loaded->source4))
			return say(config, "router.address", &loaded->source4, error);
		if (!address_equal(&settings.source6, &loaded->source6))
			return say(config, second, &loaded->source6, error);
	}
	if (loaded->is_target && settings.is_target &&
	    !address_equal(&settings.target, &loaded->target))
		return say(config, "target.address", &loaded->target, error);
	return 0;
}

void settings_keep(const struct settings *loaded, struct config *config)
{
	if (loaded->is_router && config->has_router) {
		config->router.address =
			address_is_zero(&loaded->source4) ? loaded->source6 : loaded->source4;
		config->router.address6 = loaded->source6;
	}
	if (loaded->is_target && config->has_target)
		config->target.address = loaded->target;
}
