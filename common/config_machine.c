/* SPDX-License-Identifier: BSD-2-Clause */
/* config_machine.c - is what the configuration names there on this machine? */
#include "config.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "document.h"

struct checking {
	const struct config *config;
	struct document *document;
	char *error;
};

#define WRONG(checking, path, ...)                                                                 \
	document_wrong((checking)->document, document_line((checking)->document, path),            \
		       (checking)->error, CONFIG_ERROR, __VA_ARGS__)

static bool is_loopback(const char *interface)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool loopback;

	if (fd < 0)
		return false;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	loopback = !ioctl(fd, SIOCGIFFLAGS, &request) && request.ifr_flags & IFF_LOOPBACK;
	close(fd);
	return loopback;
}

static int check_interfaces(const struct checking *checking, const char *section,
			    const char interfaces[][IF_NAMESIZE], unsigned int count)
{
	char path[64];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s.interfaces[%u]", section, i);
		if (!if_nametoindex(interfaces[i]))
			return WRONG(checking, path,
				     "%s: there is no interface %s here (see `ip link`)", path,
				     interfaces[i]);
		if (is_loopback(interfaces[i]))
			return WRONG(checking, path, "%s: no packet of another node arrives on %s",
				     path, interfaces[i]);
	}
	return 0;
}

/* The directory that an absolute path's last part is in; returns parent. */
static const char *parent_of(const char *path, char parent[4096])
{
	const char *slash = strrchr(path, '/');

	snprintf(parent, 4096, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return parent;
}

/* PIN_PATH is made on a bpffs that somebody has mounted. */
static int check_pin_path(const struct checking *checking)
{
	const char *pin_path = checking->config->pin_path;
	char parent[4096];
	struct statfs status;

	if (strchr(strrchr(pin_path, '/'), '.'))
		return WRONG(checking, "pin_path", "pin_path: %s: bpffs allows no dot in a name",
			     pin_path);
	parent_of(pin_path, parent);
	if (statfs(parent, &status))
		return WRONG(checking, "pin_path", "pin_path: %s: %s: %s", pin_path, parent,
			     strerror(errno));
	if (status.f_type != BPF_FS_MAGIC)
		return WRONG(checking, "pin_path",
			     "pin_path: %s: %s is not on a bpffs; mount one: mount -t bpf bpf %s",
			     pin_path, parent, parent);
	return 0;
}

static int check_cgroup(const struct checking *checking)
{
	const char *cgroup = checking->config->target.cgroup;
	struct statfs status;

	if (statfs(cgroup, &status))
		return WRONG(checking, "target.cgroup", "target.cgroup: %s: %s", cgroup,
			     strerror(errno));
	if (status.f_type != CGROUP2_SUPER_MAGIC)
		return WRONG(checking, "target.cgroup",
			     "target.cgroup: %s is not a cgroup2 directory (mount -t cgroup2 none "
			     "DIRECTORY, and name it here)",
			     cgroup);
	return 0;
}

/* A directory that limpetd makes if it is not there: it can make the last of the path. */
static int check_directory(const struct checking *checking, const char *key, const char *path)
{
	struct stat status;
	char parent[4096];

	if (!stat(path, &status))
		return S_ISDIR(status.st_mode)
			       ? 0
			       : WRONG(checking, key, "%s: %s is no directory", key, path);
	if (!stat(parent_of(path, parent), &status) && S_ISDIR(status.st_mode))
		return 0;
	return WRONG(checking, key, "%s: %s cannot be made: there is no directory %s", key, path,
		     parent);
}

/* OpenSSL's reason for the last failure, in its words. */
static const char *openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code))
		return strerror(ERR_GET_REASON(code));
	return reason ? reason : "unknown";
}

/* The certificates of a PEM file, in its order; NULL when there is none or it cannot be read. */
static STACK_OF(X509) *
	read_certificates(const struct checking *checking, const char *path, const char *file)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	FILE *stream = fopen(file, "re");
	X509 *certificate;

	if (!stream || !certificates) {
		WRONG(checking, path, "%s: %s cannot be read: %s", path, file, strerror(errno));
		if (stream)
			fclose(stream);
		sk_X509_free(certificates);
		return NULL;
	}
	while ((certificate = PEM_read_X509(stream, NULL, NULL, NULL)))
		sk_X509_push(certificates, certificate);
	fclose(stream);
	if (sk_X509_num(certificates))
		return certificates;
	WRONG(checking, path, "%s: %s holds no certificate in PEM form", path, file);
	sk_X509_free(certificates);
	return NULL;
}

/* An agent has nobody to ask. */
static int no_password(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

static int check_key(const struct checking *checking, X509 *certificate)
{
	const struct config *config = checking->config;
	FILE *stream = fopen(config->tls_key, "re");
	EVP_PKEY *key;
	int wrong = 0;

	if (!stream)
		return WRONG(checking, "tls.key", "tls.key: %s cannot be read: %s", config->tls_key,
			     strerror(errno));
	ERR_clear_error();
	key = PEM_read_PrivateKey(stream, NULL, no_password, NULL);
	fclose(stream);
	if (!key)
		return WRONG(checking, "tls.key",
			     "tls.key: %s holds no private key without a password: %s",
			     config->tls_key, openssl_reason());
	if (X509_check_private_key(certificate, key) != 1)
		wrong = WRONG(checking, "tls.key",
			      "tls.key: %s is not the key of the certificate %s", config->tls_key,
			      config->tls_certificate);
	EVP_PKEY_free(key);
	return wrong;
}

/* Would a peer that trusts this ca accept the certificate today? */
static int check_issuer(const struct checking *checking, STACK_OF(X509) * certificates,
			STACK_OF(X509) * authorities)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509_STORE *store = X509_STORE_new();
	int wrong = -ENOMEM;

	if (!context || !store) {
		snprintf(checking->error, CONFIG_ERROR, "out of memory");
		goto out;
	}
	for (int i = 0; i < sk_X509_num(authorities); i++)
		X509_STORE_add_cert(store, sk_X509_value(authorities, i));
	X509_STORE_CTX_init(context, store, sk_X509_value(certificates, 0), certificates);
	if (X509_verify_cert(context) == 1)
		wrong = 0;
	else
		wrong = WRONG(checking, "tls.certificate",
			      "tls.certificate: %s is not accepted by %s: %s",
			      checking->config->tls_certificate, checking->config->tls_ca,
			      X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
out:
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	return wrong;
}

static bool names_uri(X509 *certificate, const char *uri)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *text = name->d.uniformResourceIdentifier;

		if (name->type != GEN_URI)
			continue;
		found = (size_t)ASN1_STRING_length(text) == strlen(uri) &&
			!memcmp(ASN1_STRING_get0_data(text), uri, strlen(uri));
	}
	GENERAL_NAMES_free(names);
	return found;
}

/* The node's name and roles are in its certificate: limpet:router/NAME, limpet:target/NAME. */
static int check_name(const struct checking *checking, X509 *certificate)
{
	const struct config *config = checking->config;
	const struct {
		const char *role;
		bool needed;
	} roles[] = {{"router", config->has_router}, {"target", config->has_target}};
	char uri[NAME_SIZE + 32];

	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		snprintf(uri, sizeof(uri), "limpet:%s/%s", roles[i].role, config->node);
		if (roles[i].needed && !names_uri(certificate, uri))
			return WRONG(checking, "node",
				     "node: the certificate %s does not name %s among its subject "
				     "alternative names (URI:%s)",
				     config->tls_certificate, config->node, uri);
	}
	return 0;
}

static int check_tls(const struct checking *checking)
{
	const struct config *config = checking->config;
	STACK_OF(X509) *authorities = read_certificates(checking, "tls.ca", config->tls_ca);
	STACK_OF(X509) *certificates = NULL;
	int wrong = -EINVAL;

	if (!authorities)
		return wrong;
	certificates = read_certificates(checking, "tls.certificate", config->tls_certificate);
	if (!certificates)
		goto out;
	wrong = check_key(checking, sk_X509_value(certificates, 0));
	if (wrong)
		goto out;
	wrong = check_issuer(checking, certificates, authorities);
	if (wrong)
		goto out;
	wrong = check_name(checking, sk_X509_value(certificates, 0));
out:
	sk_X509_pop_free(certificates, X509_free);
	sk_X509_pop_free(authorities, X509_free);
	return wrong;
}

int config_check_machine(const struct config *config, char error[CONFIG_ERROR])
{
	struct document document;
	struct checking checking = {.config = config, .document = &document, .error = error};
	int wrong = document_open(&document, config->path, error, CONFIG_ERROR);

	if (wrong)
		return wrong;
	if (config->has_router)
		wrong = check_interfaces(&checking, "router", config->router.interfaces,
					 config->router.interface_count);
	if (!wrong && config->has_target)
		wrong = check_interfaces(&checking, "target", config->target.interfaces,
					 config->target.interface_count);
	if (!wrong && config->has_target)
		wrong = check_cgroup(&checking);
	if (!wrong)
		wrong = check_pin_path(&checking);
	if (!wrong)
		wrong = check_directory(&checking, "runtime_directory", config->runtime_directory);
	if (!wrong)
		wrong = check_directory(&checking, "state_directory", config->state_directory);
	if (!wrong)
		wrong = check_tls(&checking);
	document_close(&document);
	return wrong;
}

static bool is_here(const struct ifaddrs *all, const struct address *address)
{
	for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
		struct address own;
		__be16 port;

		if (!one->ifa_addr)
			continue;
		address_from_socket(one->ifa_addr, &own, &port);
		if (address_equal(&own, address))
			return true;
	}
	return false;
}

int config_check_addresses(const struct config *config, char error[CONFIG_ERROR])
{
	const struct {
		const char *key;
		const struct address *address;
	} own[] = {{"router.address", &config->router.address},
		   {"router.address6", &config->router.address6},
		   {"router.listen", &config->router.listen},
		   {"target.address", &config->target.address}};
	struct document document;
	char text[ADDRESS_TEXT];
	struct ifaddrs *all;
	int wrong = 0;

	if (getifaddrs(&all))
		return 0;
	for (size_t i = 0; i < sizeof(own) / sizeof(*own) && !wrong; i++) {
		if (address_is_any(own[i].address) || is_here(all, own[i].address))
			continue;
		wrong = document_open(&document, config->path, error, CONFIG_ERROR);
		if (wrong)
			break;
		document_wrong(&document, document_line(&document, own[i].key), error, CONFIG_ERROR,
			       "%s: %s is no address of this machine (see `ip address`)",
			       own[i].key, address_format(own[i].address, text));
		document_close(&document);
		wrong = -EADDRNOTAVAIL;
	}
	freeifaddrs(all);
	return wrong;
}
