/* SPDX-License-Identifier: BSD-2-Clause */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "log.h"
#include "session.h"

struct tls_context {
	SSL_CTX *ctx;
};

static const char *last_error(void)
{
	unsigned long error = ERR_peek_last_error();
	const char *text = ERR_reason_error_string(error);

	if (ERR_SYSTEM_ERROR(error))
		text = strerror(ERR_GET_REASON(error));
	ERR_clear_error();
	return text ? text : "unknown error";
}

static int load_files(SSL_CTX *ctx, const struct config *config)
{
	ERR_clear_error();
	if (SSL_CTX_load_verify_file(ctx, config->tls_ca) != 1) {
		log_error("tls.ca %s: cannot be used: %s; give the cluster's CA as PEM",
			  config->tls_ca, last_error());
		return -1;
	}
	if (SSL_CTX_use_certificate_chain_file(ctx, config->tls_certificate) != 1) {
		log_error("tls.certificate %s: cannot be used: %s; give this node's certificate "
			  "as PEM",
			  config->tls_certificate, last_error());
		return -1;
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, config->tls_key, SSL_FILETYPE_PEM) != 1) {
		log_error("tls.key %s: cannot be used with %s: %s; give the key of that "
			  "certificate as PEM",
			  config->tls_key, config->tls_certificate, last_error());
		return -1;
	}
	return 0;
}

struct tls_context *tls_context_new(const struct config *config)
{
	struct tls_context *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->ctx = SSL_CTX_new(TLS_method());
	if (!tls->ctx)
		goto out;
	SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	/* A session is never resumed: who comes back shows its certificate again. */
	SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(tls->ctx, 0);
	SSL_CTX_set_max_early_data(tls->ctx, 0);
	SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					   SSL_MODE_RELEASE_BUFFERS);
	if (load_files(tls->ctx, config))
		goto out;
	return tls;
out:
	tls_context_free(tls);
	return NULL;
}

void tls_context_free(struct tls_context *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

SSL *tls_new(struct tls_context *tls, bool accepts)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (!ssl)
		return NULL;
	if (accepts)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

const char *tls_role_name(enum wire_role role)
{
	return role == WIRE_ROUTER ? "router" : "target";
}

/* Does any subject alternative name of this type hold exactly these bytes? */
static bool peer_has(const SSL *ssl, int type, const void *bytes, int length)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	GENERAL_NAMES *names;
	bool found = false;

	if (!certificate)
		return false;
	names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		int kind;
		const ASN1_STRING *value =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);

		found = kind == type && ASN1_STRING_length(value) == length &&
			!memcmp(ASN1_STRING_get0_data(value), bytes, length);
	}
	GENERAL_NAMES_free(names);
	return found;
}

bool tls_peer_is(const SSL *ssl, enum wire_role role, const char *name)
{
	char uri[sizeof("limpet:target/") + NAME_SIZE];
	int length = snprintf(uri, sizeof(uri), "limpet:%s/%.*s", tls_role_name(role),
			      NAME_SIZE - 1, name);

	return name[0] && peer_has(ssl, GEN_URI, uri, length);
}

bool tls_peer_has_address(const SSL *ssl, const struct address *address)
{
	if (address_is_ipv4(address))
		return peer_has(ssl, GEN_IPADD, address->byte + 12, 4);
	return peer_has(ssl, GEN_IPADD, address->byte, 16);
}
