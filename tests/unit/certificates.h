/* SPDX-License-Identifier: BSD-2-Clause */
/* certificates.h - an authority and certificates of nodes, made on the spot, for tests of TLS. */
#ifndef LIMPET_TEST_CERTIFICATES_H
#define LIMPET_TEST_CERTIFICATES_H

#include <stdio.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct authority {
	EVP_PKEY *key;
	X509 *certificate;
};

static inline void add_extension(X509 *certificate, int id, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);

	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

/* issuer NULL: signs itself. */
static inline X509 *make_certificate(EVP_PKEY *key, const char *name, const char *alternatives,
				     const struct authority *issuer)
{
	static long serial = 1;
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(certificate,
			     issuer ? X509_get_subject_name(issuer->certificate) : subject);
	if (alternatives)
		add_extension(certificate, NID_subject_alt_name, alternatives);
	else
		add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
	X509_sign(certificate, issuer ? issuer->key : key, EVP_sha256());
	return certificate;
}

static inline void make_authority(struct authority *authority, const char *name)
{
	authority->key = EVP_EC_gen("P-256");
	authority->certificate = make_certificate(authority->key, name, NULL, NULL);
}

static inline void free_authority(struct authority *authority)
{
	EVP_PKEY_free(authority->key);
	X509_free(authority->certificate);
}

static inline void write_certificate(const char *path, X509 *certificate)
{
	FILE *file = fopen(path, "w");

	PEM_write_X509(file, certificate);
	fclose(file);
}

/* DIRECTORY/FILE.pem and .key, with these subject alternative names. */
static inline void make_node(const char *directory, const char *file, const char *alternatives,
			     const struct authority *issuer)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = make_certificate(key, file, alternatives, issuer);
	char path[256];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s.pem", directory, file);
	write_certificate(path, certificate);
	snprintf(path, sizeof(path), "%s/%s.key", directory, file);
	out = fopen(path, "w");
	PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

#endif
