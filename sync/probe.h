/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe.h - is the path to a target whole? Each second a small and a full encapsulated packet go to
 * it as a client's packets would; its XDP program notes them, its heartbeat tells which have come.
 * (It sends them back, too: echoes.h.)
 */
#ifndef LIMPET_PROBE_H
#define LIMPET_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define PROBE_WINDOW   5 /* probes (seconds) without an echo until the path is not whole */
#define PROBE_SIZE_MAX 65535

enum path_state { PATH_UNKNOWN, PATH_OK, PATH_MTU, PATH_BROKEN };

/*
 * What the echoes say. @sent: sequence of the last probe; @opened: `sent` when the session opened;
 * @small, @full: sequences echoed. PATH_UNKNOWN for the first PROBE_WINDOW probes of a session.
 */
enum path_state path_judge(uint64_t sent, uint64_t opened, uint64_t small, uint64_t full);
const char *path_name(enum path_state state); /* "ok", "mtu", "broken", "unknown" */

/*
 * The whole packet, outer header first, of `length` bytes (0: as short as it can be) into out. Both
 * addresses are of one family. Its length, or -EMSGSIZE.
 */
int probe_build(uint8_t *out, size_t size, const struct address *source,
		const struct address *target, enum probe_kind kind, uint64_t sequence,
		size_t length);

struct prober;
/* NULL with a line in the log. */
struct prober *prober_new(void);
void prober_free(struct prober *prober);
/* One of each kind; full is `mtu` bytes. 0 or -errno of the small one. */
int prober_send(struct prober *prober, const struct address *source, const struct address *target,
		uint32_t mtu, uint64_t sequence);

#endif
