#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Peers that must not get in (promise 7): each is refused and named in the log.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "peers that are refused, and named in the log"

lab_up && lab_serve && start_instances 1 || exit 1
certs=$LAB_DIR/certs
make=$LAB_ROOT/scripts/make-certs
"$make" "$certs" t8:target t9:router spy:target && "$make" "$LAB_DIR/others" t9:target || exit 1

peer()
{
	on client /usr/bin/python3 "$LAB_ROOT/tests/net/peer.py" 10.7.0.2 "$@"
}

# row WHAT LOG ARGUMENT...: the router ends the session and its log says LOG, with the address or name.
row()
{
	local what=$1 said=$2 lines

	shift 2
	lines=$(wc -l <"$LAB_DIR/r1/limpetd.log")
	check_is "$what: the router closes" closed "$(peer "$@" 2>&1 | tail -n 1)"
	check_soon "$what: the log says so" 5 eval \
		"tail -n +$((lines + 1)) '$LAB_DIR/r1/limpetd.log' | grep -qiE '$said'"
	tail -n +$((lines + 1)) "$LAB_DIR/r1/limpetd.log" | sed 's/^/      /'
}

row "no TLS" '10\.7\.0\.100' --plain
row "no certificate" '10\.7\.0\.100' --ca "$certs/ca.pem"
row "a certificate of another authority" '10\.7\.0\.100.*certificate' \
	--ca "$certs/ca.pem" --certificate "$LAB_DIR/others/t9" --name t9
row "a certificate for another role" 't9|10\.7\.0\.100' --ca "$certs/ca.pem" --certificate "$certs/t9" --name t9
row "another name than the certificate's" 't1|10\.7\.0\.100' \
	--ca "$certs/ca.pem" --certificate "$certs/t8" --name t1
row "another version" 't8.*version|version' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 --version 99
row "another magic" 't8|10\.7\.0\.100' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 --magic 1
row "a frame that is too long" 't8|10\.7\.0\.100' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 \
	--frame ffff0100
row "a frame of the wrong length for its type" 't8' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 \
	--hello --frame 00010b0000
row "an unknown message" 't8' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 --hello --frame 00006300
row "a message that only a router sends" 't8' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 \
	--hello --frame 00000b00
row "a tunnel address that is not its own" 't8.*address|address.*t8' \
	--ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 --address 10.7.0.11
row "silence" 't8|10\.7\.0\.100' --ca "$certs/ca.pem" --certificate "$certs/t8" --name t8 --hello --silent

# A target refuses too: a router whose clock is further ahead than one can be.
stop_limpetd r2
check_is "a router's impossible clock is malformed" 6 "$(on r2 /usr/bin/python3 "$LAB_ROOT/tests/net/peer.py" \
	10.7.0.3 --serve --name r2 --address 10.7.0.3 --clock $((1 << 60)) --ca "$certs/ca.pem" --certificate "$certs/r2")"
start_limpetd r2 || exit 1

check_is "none of them is a target" "t1 t2" "$(show r1 targets '" ".join(sorted(t["name"] for t in d if t["state"] == "up"))')"
check "the router is ready nevertheless, once it has forgotten who was there for a moment" \
	poll 10 eval 'on r1 limpet forget t8; router_is_ready r1'
check_json "connections are served" "d['failed'] == 0" "$(client many --source 198.18.1.1-20)"
