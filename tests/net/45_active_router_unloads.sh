#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The active router is not unloaded by mistake: its kernel, which holds the services' way, would reset
# the clients' connections.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the active router is not unloaded by mistake"

lab_up && lab_serve && start_instances 1 || exit 1
client_start held hold --source 198.18.1.1-10 --count 20
node_bpf_objects r1 | sort >"$LAB_DIR/before"
said=$(on r1 limpet unload 2>&1)
check_is "unload is refused" 1 $?
check_is "with one line" "limpet: r1 is the active router: let another take over first (limpet deactivate, or stop keepalived), or use --force" "$said"
check_is "no BPF object is another" "" "$(node_bpf_objects r1 | sort | diff "$LAB_DIR/before" -)"
check "limpetd runs on" limpetd_answers r1
check_is "r1 is active" active "$(on r1 limpet status --json | json 'd["router"]["role"]')"

takeover r2
check "r1 is active no more" on r1 limpet deactivate
check "and may be unloaded" on r1 limpet unload
check_soon "every one of its BPF objects is gone" 10 list_is_gone "$LAB_DIR/before"
check_json "no connection has broken" "d['opened'] == 20 and d['broken'] == []" "$(client_end held)"

check "r1 loads again" node_serve r1
check "and is active" takeover r1
node_bpf_objects r1 >"$LAB_DIR/before"
check "unload --force" on r1 limpet unload --force
check_soon "does it" 10 list_is_gone "$LAB_DIR/before"
