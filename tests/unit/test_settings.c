/* SPDX-License-Identifier: BSD-2-Clause */
/* What a reload cannot change: the addresses that packets are encapsulated with. */
#include <errno.h>

#include "config_directory.h"
#include "settings.h"

static struct config *load_addresses(const char *router, const char *router6, const char *target)
{
	char text[1024], line6[128] = "";

	if (router6[0])
		snprintf(line6, sizeof(line6), "  address6: \"%s\"\n", router6);
	snprintf(text, sizeof(text),
		 "node: n1\nrouter:\n  interfaces: [eth0]\n  address: \"%s\"\n%s"
		 "  listen: 10.7.0.2:7562\n"
		 "  services: [ { name: shop, address: 203.0.113.10, port: 80 } ]\n"
		 "target:\n  interfaces: [eth0]\n  address: \"%s\"\n"
		 "  routers: [ \"10.7.0.2:7562\" ]\n  service_addresses: [ 203.0.113.0/24 ]\n"
		 "tls: { ca: ca.pem, certificate: n1.pem, key: n1.key }\n",
		 router, line6, target);
	return load(text);
}

static void addresses(void **state)
{
	static const struct {
		const char *router, *router6, *target, *wrong;
	} rows[] = {
		{"10.7.0.2", "2001:db8::2", "10.7.0.11", NULL},
		{"10.7.0.3", "2001:db8::2", "10.7.0.11",
		 "limpet.yaml:4: router.address: loaded with 10.7.0.2;"},
		{"10.7.0.2", "2001:db8::3", "10.7.0.11",
		 "limpet.yaml:5: router.address6: loaded with 2001:db8::2;"},
		{"10.7.0.2", "", "10.7.0.11", "limpet.yaml:3: router.address6: loaded with"},
		{"2001:db8::2", "", "10.7.0.11",
		 "limpet.yaml:4: router.address: loaded with 10.7.0.2;"},
		{"10.7.0.2", "2001:db8::2", "10.7.0.12",
		 "limpet.yaml:10: target.address: loaded with 10.7.0.11;"},
	};
	struct config *config = load_addresses(rows[0].router, rows[0].router6, rows[0].target);
	struct settings loaded, kept, nothing = {0};

	(void)state;
	settings_from(config, &loaded);
	config_free(config);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char error[CONFIG_ERROR] = "";
		int wrong;

		config = load_addresses(rows[i].router, rows[i].router6, rows[i].target);
		assert_int_equal(settings_check(config, &nothing, error), 0);
		wrong = settings_check(config, &loaded, error);
		assert_int_equal(wrong, rows[i].wrong ? -EBUSY : 0);
		if (rows[i].wrong && strncmp(error, rows[i].wrong, strlen(rows[i].wrong)) != 0)
			fail_msg("'%s' does not begin with '%s'", error, rows[i].wrong);
		settings_keep(&loaded, config);
		settings_from(config, &kept);
		assert_memory_equal(&kept, &loaded, sizeof(loaded));
		config_free(config);
	}
}

/* A role that was not loaded has no address yet. */
static void another_role(void **state)
{
	struct config *config = load_addresses("10.7.0.2", "", "10.7.0.11");
	char error[CONFIG_ERROR];
	struct settings loaded;

	(void)state;
	settings_from(config, &loaded);
	loaded.is_target = 0;
	memset(&loaded.target, 0, sizeof(loaded.target));
	assert_int_equal(settings_check(config, &loaded, error), 0);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(another_role),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
