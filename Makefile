# SPDX-License-Identifier: BSD-2-Clause
# `make help` tells what there is. Everything that is built goes to $(BUILD).

VERSION := 0.1.0

PREFIX  ?= /usr
BINDIR  ?= $(PREFIX)/sbin
LIBDIR  ?= $(PREFIX)/lib/$(shell $(CC) -print-multiarch 2>/dev/null)
INCLUDEDIR ?= $(PREFIX)/include
UNITDIR ?= /lib/systemd/system
CONFDIR ?= /etc/limpet
MANDIR  ?= $(PREFIX)/share/man
DOCDIR  ?= $(PREFIX)/share/doc/limpet
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions

BUILD   ?= build
# One name for each file, however the folder is given: what depends on what is kept by name.
override BUILD := $(abspath $(BUILD))
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= /usr/sbin/bpftool
CFLAGS  ?= -O2 -g
SANITIZE ?=

PACKAGES_COMMON := libbpf
PACKAGES_LOADER := $(PACKAGES_COMMON) libcyaml yaml-0.1 json-c libmnl openssl
PACKAGES_SYNC   := $(PACKAGES_LOADER) libevent libevent_openssl libsystemd

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Werror
CPPFLAGS += -D_GNU_SOURCE -DLIMPET_VERSION='"$(VERSION)"' -Iinclude -Icommon -I$(BUILD)/bpf
ALL_CFLAGS := -std=gnu11 $(WARNINGS) $(CFLAGS) $(SANITIZE) -fstack-protector-strong -fno-strict-aliasing -MMD -MP

BPF_ARCH   := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -ffreestanding -D__TARGET_ARCH_$(BPF_ARCH) -Iinclude -Ibpf \
              -I/usr/include/$(shell $(CC) -print-multiarch) -Wall -Wextra -Wno-unused-parameter -Werror -MMD -MP

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_OBJECTS := $(BPF_SOURCES:bpf/%.bpf.c=$(BUILD)/bpf/%.bpf.o)
SKELETONS   := $(BPF_SOURCES:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))
COMMON := $(call objects,common)
LOADER := $(call objects,loader)
SYNC   := $(call objects,sync)
LIB    := $(patsubst lib/%.c,$(BUILD)/lib/%.pic.o,$(wildcard lib/*.c))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
MODEL      := $(patsubst tests/model/%.c,$(BUILD)/tests/model/%.o,$(wildcard tests/model/*.c))
BPF_TESTS  := $(patsubst tests/bpf/%.c,$(BUILD)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
# What tests/bpf/test_*.c share.
BPF_TEST_PARTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/bpf/test_%,$(wildcard tests/bpf/*.c)))
LAB_BPF    := $(patsubst tests/net/%.bpf.c,$(BUILD)/tests/net/%.bpf.o,$(wildcard tests/net/*.bpf.c))
LAB_TOOLS  := $(patsubst tests/net/%.c,$(BUILD)/tests/net/%,$(filter-out %.bpf.c,$(wildcard tests/net/*.c)))
BENCH      := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %.bpf.c bench/info.c,$(wildcard bench/*.c)))
BENCH_SKELETONS := $(patsubst bench/%.bpf.c,$(BUILD)/bench/%.skel.h,$(wildcard bench/*.bpf.c))
EXAMPLES   := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))

SONAME := liblimpet.so.1

all: $(BUILD)/limpet $(BUILD)/limpetd lib examples ## the programs, the library, the examples
lib: $(BUILD)/lib/$(SONAME) $(BUILD)/lib/liblimpet.a ## the library for applications
examples: $(EXAMPLES)
bpf: $(BPF_OBJECTS) ## the BPF programs

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.new && mv $@.new $@

$(BUILD)/%.o: %.c | $(SKELETONS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(shell pkg-config --cflags $(PACKAGES_SYNC)) -c $< -o $@

$(BUILD)/lib/%.pic.o: lib/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Iinclude -fPIC -fvisibility=hidden -c $< -o $@

$(BUILD)/common.a: $(COMMON)
	rm -f $@ && $(AR) rcs $@ $^

# Everything of the agent but its main, for tests.
$(BUILD)/sync.a: $(filter-out $(BUILD)/sync/main.o,$(SYNC))
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/limpet: $(LOADER) $(BUILD)/common.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(PACKAGES_LOADER))

$(BUILD)/limpetd: $(BUILD)/sync/main.o $(BUILD)/sync.a $(BUILD)/common.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(PACKAGES_SYNC))

$(BUILD)/lib/$(SONAME): $(LIB) lib/limpet.map
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=lib/limpet.map -o $@ $(LIB)
	ln -sf $(SONAME) $(@D)/liblimpet.so

$(BUILD)/lib/liblimpet.a: $(LIB)
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/examples/%: examples/%.c $(BUILD)/lib/liblimpet.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -Iinclude -o $@ $< $(BUILD)/lib/liblimpet.a -pthread

# Pure rules and wire: no root, no kernel.
$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/sync.a $(BUILD)/common.a | $(SKELETONS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -Isync $(shell pkg-config --cflags $(PACKAGES_SYNC) cmocka) -o $@ $< \
		$(filter %.o,$^) $(BUILD)/sync.a $(BUILD)/common.a $(shell pkg-config --libs $(PACKAGES_SYNC) cmocka)

# XDP's decision as the explorer runs it, look-up by look-up.
$(BUILD)/tests/unit/test_flow_races $(BUILD)/tests/unit/test_flow_id: $(BUILD)/tests/model/forward.o

$(BUILD)/tests/bpf/%: tests/bpf/%.c $(BPF_TEST_PARTS) $(BUILD)/common.a $(BUILD)/lib/liblimpet.a | $(SKELETONS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(shell pkg-config --cflags libbpf cmocka) -o $@ $< \
		$(filter %.o,$^) $(BUILD)/common.a $(BUILD)/lib/liblimpet.a \
		$(shell pkg-config --libs $(PACKAGES_LOADER) cmocka)

# What a reload does to a router's maps.
$(BUILD)/tests/bpf/test_service_numbers: $(BUILD)/loader/services.o $(BUILD)/loader/objects.o

# What the lab's switch needs (scripts/lab.d/nodes.sh).
$(BUILD)/tests/net/%.bpf.o: tests/net/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# What the tests in network namespaces send.
$(BUILD)/tests/net/%: tests/net/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -o $@ $<

# libFuzzer; common/ is built again with its instrumentation.
$(BUILD)/tests/fuzz/%: tests/fuzz/%.c common/codec.c
	@mkdir -p $(@D)
	$(CLANG) $(ALL_CFLAGS) $(CPPFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $(filter %.c,$^)

# The benchmark: its own programs, and the agent's Maglev.
$(BUILD)/bench/%.bpf.o: bench/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BUILD)/bench/%.skel.h: $(BUILD)/bench/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.new && mv $@.new $@

$(BENCH): $(BUILD)/bench/%.o: bench/%.c | $(BENCH_SKELETONS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -I$(BUILD)/bench -Isync $(shell pkg-config --cflags libbpf json-c) -c $< -o $@

$(BUILD)/bench/bench: $(BENCH) $(BUILD)/sync/maglev.o $(BUILD)/sync/rings.o $(BUILD)/common.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(PACKAGES_LOADER))

$(BUILD)/bench/info: $(BUILD)/bench/info.o $(BUILD)/loader/objects.o $(BUILD)/common.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(PACKAGES_LOADER))

fuzz: $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/*.c)) ## fuzz targets, with clang

# The explorer runs the rules and bpf/choose.h in user space, on helpers of its own (tests/model/shim).
$(BUILD)/tests/model/%.o: tests/model/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/model/shim $(CPPFLAGS) -Isync -Ibpf -c $< -o $@

$(BUILD)/tests/model/explorer: $(MODEL) $(BUILD)/sync.a $(BUILD)/common.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(PACKAGES_SYNC))

unit-tests: $(UNIT_TESTS)
bpf-tests: $(BPF_TESTS)
lab: all $(LAB_BPF) $(LAB_TOOLS) ## what scripts/lab and the tests in network namespaces run
tests: unit-tests bpf-tests lab bench-programs

bench-programs: $(BUILD)/limpet $(BUILD)/bench/bench $(BUILD)/bench/info
bench: bench-programs ## ns per packet beside floors, throughput, Maglev; as root; OPTIONS="--cases 'v4_*'"
	LIMPET_BUILD=$(BUILD) bench/run $(OPTIONS)

bench-growth: bench-programs ## ns per packet over flows, services, targets, affinities
	LIMPET_BUILD=$(BUILD) bench/run --growth --json $(BUILD)/bench-growth.json $(OPTIONS)

# All of them have been made by now: make bench bench-growth info bench-docs.
bench-docs: ## what bench, bench-growth and info have measured, into docs/PERFORMANCE.md
	bench/document.py $(BUILD)/bench.json $(BUILD)/bench-growth.json $(BUILD)/info.json

info: bench-programs ## verifier instructions, stack, machine code; bytes of the maps; as root
	@$(BUILD)/bench/info -j $(BUILD)/info.json examples/limpet.yaml $(BPF_OBJECTS)

check-unit: unit-tests ## pure rules and wire; any user
	@set -e; for t in $(UNIT_TESTS); do echo "== $$t"; $$t; done

check-model: $(BUILD)/tests/model/explorer ## random histories of a small cluster; RUNS=N of them
	$< --runs $(or $(RUNS),5000)

ablate: ## does the explorer see each rule? switches them off in turn; RULES="NAME..."; half an hour
	/usr/bin/python3 tests/model/ablate.py $(RULES)

check-bpf: bpf-tests ## the XDP program, packet by packet; as root
	@set -e; for t in $(BPF_TESTS); do echo "== $$t"; $$t; done

check: ## every test, as root
	scripts/test

lint: ## the house's rules: format, layers, shell
	scripts/lint

format: ## clang-format over everything
	clang-format -i $$(git ls-files '*.c' '*.h')

compile_commands.json: ## for editors
	bear -- $(MAKE) -B BUILD=$(BUILD)/bear all tests

UNITS   := $(wildcard systemd/*.service)
MANUALS := $(wildcard docs/man/*.[1-9])
# The other functions of limpet_affinity_request(3).
MANUAL_LINKS := $(patsubst %,limpet_affinity_%.3,wait status release)

# What names a place is written here: `make install PREFIX=…` may follow a plain `make`.
install: all ## into DESTDIR, under PREFIX
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR)/limpet $(UNITDIR) $(DOCDIR) \
		$(COMPLETIONDIR) $(CONFDIR))
	install -m 755 $(BUILD)/limpet $(BUILD)/limpetd $(DESTDIR)$(BINDIR)
	install -m 644 $(BUILD)/lib/$(SONAME) $(BUILD)/lib/liblimpet.a $(DESTDIR)$(LIBDIR)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/liblimpet.so
	sed 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(VERSION)|' \
		lib/limpet.pc.in | install -m 644 /dev/stdin $(DESTDIR)$(LIBDIR)/pkgconfig/limpet.pc
	install -m 644 include/limpet/limpet.h $(DESTDIR)$(INCLUDEDIR)/limpet
	for unit in $(UNITS); do sed 's|/usr/sbin/|$(BINDIR)/|' $$unit | \
		install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; done
	install -m 644 examples/limpet.yaml $(DESTDIR)$(DOCDIR)
	install -m 644 scripts/completion.bash $(DESTDIR)$(COMPLETIONDIR)/limpet
	for page in $(MANUALS); do install -D -m 644 -t $(DESTDIR)$(MANDIR)/man$${page##*.} $$page || exit 1; done
	install -d $(DESTDIR)$(MANDIR)/man3
	for link in $(MANUAL_LINKS); do ln -sf limpet_affinity_request.3 $(DESTDIR)$(MANDIR)/man3/$$link || exit 1; done
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || { ldconfig; \
		[ ! -d /run/systemd/system ] || systemctl daemon-reload; }

uninstall: ## what `make install` with the same DESTDIR and PREFIX has made
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,limpet limpetd)
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(SONAME) liblimpet.so liblimpet.a pkgconfig/limpet.pc)
	rm -f $(DESTDIR)$(INCLUDEDIR)/limpet/limpet.h $(DESTDIR)$(DOCDIR)/limpet.yaml $(DESTDIR)$(COMPLETIONDIR)/limpet
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS)))
	for page in $(notdir $(MANUALS)) $(MANUAL_LINKS); do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done
	for directory in $(addprefix $(DESTDIR),$(INCLUDEDIR)/limpet $(DOCDIR) $(CONFDIR)); do \
		[ ! -d $$directory ] || rmdir --ignore-fail-on-non-empty $$directory || exit 1; done

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## this
	@awk -F':.*## ' '/^[a-z_.-]+:.*## /{sub(/:.*/,"",$$1); printf "  %-24s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

.PHONY: all lib examples bpf fuzz check-model ablate unit-tests bpf-tests lab tests bench bench-programs bench-growth bench-docs info check-unit check-bpf check lint format install uninstall clean help
.SECONDARY:
.DELETE_ON_ERROR:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
