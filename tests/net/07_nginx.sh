#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# nginx with `listen … reuseport`, as it is: its master makes the sockets, its workers accept.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "nginx, unmodified, its workers are instances"
command -v nginx >/dev/null || {
	say "nginx is not installed: scripts/install-packages"
	exit 77
}

LAB_SERVICES="    - name: shop
      address: 203.0.113.10
      port: 80
      affinity: timed
      affinity_idle: 60s"
LAB_TARGETS=1
lab_up || exit 1
directory=$LAB_DIR/t1/nginx
mkdir -p "$directory"
cat >"$directory/nginx.conf" <<END
worker_processes 3;
pid $directory/pid;
error_log $directory/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path $directory/body;
	proxy_temp_path $directory/proxy;
	fastcgi_temp_path $directory/fastcgi;
	uwsgi_temp_path $directory/uwsgi;
	scgi_temp_path $directory/scgi;
	server { listen 80 reuseport; listen [::]:80 reuseport; location / { return 200 "\$pid\n"; } }
}
END
on t1 nginx -c "$directory/nginx.conf" || fail "nginx starts"
lab_serve || exit 1

check_soon "three instances are adopted, the master holds the sockets" 15 adopted t1 3
check_json "each is one instance, with its listeners of both families" "d[0]['ready_instances'] == 3" \
	"$(on t1 limpet show services --json)"

ask()
{
	on client curl -s --max-time 5 --interface "$1" http://203.0.113.10/
}

first=$(ask 198.18.0.1)
check "the first connection is answered" test -n "$first"
check_soon "it has made a timed affinity" 5 holder_is r1 198.18.0.1 t1
for ((number = 0; number < 100; number++)); do
	ask 198.18.0.1
done | sort | uniq -c >"$LAB_DIR/answers"
check_is "100 of 100 connections reach the same worker" "100 $first" \
	"$(awk '{ print $1, $2 }' "$LAB_DIR/answers")"
# shellcheck disable=SC2016
on client sh -c 'for n in $(seq 1 60); do
	curl -s --max-time 5 --interface 198.18.1.$n http://203.0.113.10/ & done; wait' |
	sort -u >"$LAB_DIR/workers"
check "others reach more than one worker: $(tr '\n' ' ' <"$LAB_DIR/workers")" \
	test "$(wc -l <"$LAB_DIR/workers")" -gt 1
