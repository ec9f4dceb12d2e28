# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# actors.sh - instances on the targets, clients in the client's node.

# start_instance NODE [OPTION...]: its pid is printed once it listens.
start_instance()
{
	local node=$1 name pid

	shift
	name=instance.$EPOCHREALTIME
	run_on "$node" "$name" /usr/bin/python3 "$LAB_ROOT/tests/net/server.py" "$@"
	pid=$(cat "$LAB_DIR/$node/$name.pid")
	mv "$LAB_DIR/$node/$name.pid" "$LAB_DIR/$node/instance.$pid.pid"
	mv "$LAB_DIR/$node/$name.log" "$LAB_DIR/$node/instance.$pid.log" 2>/dev/null ||
		wait_until 5 "the instance's log" \
			mv "$LAB_DIR/$node/$name.log" "$LAB_DIR/$node/instance.$pid.log" || return 1
	wait_until 10 "instance $pid on $node to listen" \
		grep -q '^listening' "$LAB_DIR/$node/instance.$pid.log" || {
		cat "$LAB_DIR/$node/instance.$pid.log" >&2
		return 1
	}
	echo "$pid"
}

# start_instances N [OPTION...]: N on each target; waits until they are adopted and the routers know.
start_instances()
{
	local number=$1 options

	shift
	options=("$@")
	# shellcheck disable=SC2046
	together start_these $(lab_targets) || return 1
	wait_adopted "$number"
}

# Of start_instances: as many, one after the other, with its options.
start_these()
{
	local count

	for ((count = 0; count < number; count++)); do
		start_instance "$1" "${options[@]}" >/dev/null || return 1
	done
}

# instance_pids NODE: those that live.
instance_pids()
{
	local file pid

	for file in "$LAB_DIR/$1"/instance.*.pid; do
		[ -e "$file" ] || continue
		pid=$(<"$file")
		! process_lives_on "$1" "$pid" || echo "$pid"
	done
	for file in "$LAB_DIR/$1"/example.*.pid; do
		[ ! -e "$file" ] || pgrep -P "$(<"$file")"
	done
}

# node_of_pid PID: the node that this process lives on.
node_of_pid()
{
	sed -n 's|^0::.*/\([^/]*\)$|\1|p' "/proc/$1/cgroup"
}

# start_example NODE N [c|python]: examples/affinity_server with N processes.
start_example()
{
	local node=$1 program=affinity_server

	[ "${3:-c}" = c ] || program=$LAB_ROOT/examples/affinity_server.py
	run_on "$node" "example.${3:-c}" "$program" -a :: -p 80 -n "$2"
}

start_examples()
{
	local node

	for node in $(lab_targets); do
		start_example "$node" "$1" || return 1
	done
	wait_adopted "$1"
}

stop_example()
{
	stop_process TERM "$(cat "$LAB_DIR/$1/example.${2:-c}.pid")" &&
		rm "$LAB_DIR/$1/example.${2:-c}.pid"
}

instances_are()
{
	[ "$(show "$1" instances 'sum(i["state"] == "ready" for i in d)')" = "$2" ]
}

# adopted NODE N: N ready instances on this target, and every router that runs knows of them.
adopted()
{
	local node

	instances_are "$1" "$2" || return 1
	for node in r1 r2; do
		! router_keeps_up "$node" || router_knows "$node" "$1" "$2" || return 1
	done
}

# In the on-failure mode a standby does not.
router_keeps_up()
{
	limpetd_is_up "$1" && { [ "$LAB_MODE" = continuous ] || router_is_active "$1"; }
}

# router_knows ROUTER TARGET N: that the target is up, its path is fine and it has N instances ready.
router_knows()
{
	[ "$(show "$1" targets "[(t['state'], t['path'], t['ready_instances']) for t in d if t['name'] == '$2'] \
		== [('up', 'ok', $3)]")" = true ]
}

# Whatever their state.
instances_listed()
{
	[ "$(show "$1" instances 'len(d)')" = "$2" ]
}

# wait_adopted N: each target has N ready instances, and every router that runs knows of them.
wait_adopted()
{
	local node

	for node in $(lab_targets); do
		wait_until 10 "$1 instances on $node to be adopted" adopted "$node" "$1" || return 1
	done
}

client()
{
	on client /usr/bin/python3 "$LAB_ROOT/tests/net/client.py" "$@"
}

# client_start NAME ARGUMENT...: in the background. `client_end NAME` ends it and prints its report.
# Of one that holds connections, `client_round NAME` waits until every one has gone on.
client_start()
{
	local name=$1

	shift
	rm -f "$LAB_DIR/client/$name".{log,open,stop,round}
	run_on client "$name" /usr/bin/python3 "$LAB_ROOT/tests/net/client.py" "$@" \
		--opened "$LAB_DIR/client/$name.open" --stop "$LAB_DIR/client/$name.stop" \
		--round "$LAB_DIR/client/$name.round"
	wait_until 60 "client $name to be connected" client_is_open "$name"
}

client_is_open()
{
	[ -e "$LAB_DIR/client/$1.open" ] || process_is_gone "$(cat "$LAB_DIR/client/$1.pid")"
}

# Once it was connected: before, it may not have entered its node yet.
client_has_ended()
{
	! process_lives_on client "$(cat "$LAB_DIR/client/$1.pid")"
}

client_round()
{
	touch "$LAB_DIR/client/$1.round"
	wait_until 60 "every connection of client $1 to have gone on" test ! -e "$LAB_DIR/client/$1.round"
}

client_end()
{
	local name=$1

	touch "$LAB_DIR/client/$name.stop"
	wait_until 90 "client $name to end" client_has_ended "$name" || return 1
	cat "$LAB_DIR/client/$name.log"
}

# ask_affinity SOURCE [OPTION...]: opens a connection, asks for an affinity and waits until it is in
# force everywhere; prints the pid of the instance that has it.
ask_affinity()
{
	local source=$1 answer

	shift
	answer=$(client talk --source "$source" "$@" who affinity "wait 5000") || return 1
	json 'd["answers"][0] if d["answers"][1:] == [d["answers"][0] + " ok"] * 2 else None' \
		<<<"$answer" | grep -v '^None$' || {
		complain "no affinity for $source: $answer"
		return 1
	}
}

# check_all_reach WHAT PID COUNT SOURCE [OPTION...]: COUNT connections, every one answered by PID.
check_all_reach()
{
	local what=$1 pid=$2 count=$3 source=$4

	shift 4
	check_json "$what" "d['answers'] == {'$pid': $count} and d['failed'] == 0" \
		"$(client many --source "$source" --count "$count" "$@")"
}
