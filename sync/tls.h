/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.h - certificates: who the peer of a session is. TLS 1.3 only, both sides show a certificate,
 * no tickets, no early data. tls_context_new and tls_context_free are in session.h.
 */
#ifndef LIMPET_TLS_H
#define LIMPET_TLS_H

#include <openssl/ssl.h>

#include "wire.h"

struct tls_context;

/* One session's state: the end that accepts or the one that connects; NULL without memory. */
SSL *tls_new(struct tls_context *tls, bool accepts);

/* Does the peer's certificate carry the URI limpet:target/NAME, or limpet:router/NAME? */
bool tls_peer_is(const SSL *ssl, enum wire_role role, const char *name);
/* Is the address among the IP subject alternative names of the peer's certificate? */
bool tls_peer_has_address(const SSL *ssl, const struct address *address);
const char *tls_role_name(enum wire_role role); /* "target", "router" */

#endif
