/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf_endian.h - for the explorer only (bpf_helpers.h beside it). */
#ifndef LIMPET_SHIM_BPF_ENDIAN_H
#define LIMPET_SHIM_BPF_ENDIAN_H

#include <endian.h>

#define bpf_htons(x) htobe16(x)
#define bpf_ntohs(x) be16toh(x)
#define bpf_htonl(x) htobe32(x)
#define bpf_ntohl(x) be32toh(x)

#endif
