/* SPDX-License-Identifier: BSD-2-Clause */
/* config_directory.h - a group of tests in a directory of its own, with the file limpet.yaml. */
#ifndef LIMPET_TEST_CONFIG_DIRECTORY_H
#define LIMPET_TEST_CONFIG_DIRECTORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

static char directory[] = "/tmp/limpet-config-XXXXXX";

static void write_text(const char *text, size_t length)
{
	FILE *file = fopen("limpet.yaml", "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static struct config *load(const char *text)
{
	char error[CONFIG_ERROR];
	struct config *config = NULL;

	write_text(text, strlen(text));
	if (config_load("limpet.yaml", &config, error))
		fail_msg("%s", error);
	return config;
}

static int enter(void **state)
{
	(void)state;
	return mkdtemp(directory) ? chdir(directory) : -1;
}

static int leave(void **state)
{
	(void)state;
	unlink("limpet.yaml");
	return chdir("/") || rmdir(directory);
}

#endif
