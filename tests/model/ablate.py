# SPDX-License-Identifier: BSD-2-Clause
"""Does the explorer see each rule?  Switches them off one at a time, in a copy of the sources, and explores.

  make ablate                        every rule of the table below; minutes
  make ablate RULES="barrier digest" only these
  tests/model/ablate.py --check      only whether their texts are there; scripts/test does that

A rule is switched off by a replacement in one file.  The text that is replaced has to be there exactly once: whoever changes the
rule changes it here too.  With every rule on, no history may break a promise.  Prints, for each, the number of histories until a promise was broken, or that none was.
Exits 1 if a rule that is expected to be seen was not, or if its text is not there.
"""
import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["tests/model/*.c", "sync/router_mirror.c", "sync/mirror_*.c", "sync/target_mirror.c", "sync/target_claims.c",
           "sync/target_keys.c", "sync/target_stream.c", "sync/target_table.c", "common/codec.c", "common/address.c"]
FLAGS = ["-std=gnu11", "-w", "-O2", "-fno-strict-aliasing", "-D_GNU_SOURCE", "-Itests/model/shim", "-Iinclude", "-Icommon", "-Isync",
         "-Ibpf"]


@dataclass
class Rule:
    name: str
    off: str        # what happens without it
    file: str
    old: str
    new: str
    unseen: str = ""  # why no history shows it, if none does


RULES = [
    # -- one table, one writer
    Rule("one-writer", "an END clears what XDP has noted",
         "bpf/router_agent.h", "	flow_changed(id);\n	return error;",
         "	flow_changed(id);\n	if (!error && (call->op == ROUTER_DELETE_CONNECTION || value.state != CONNECTION_OPEN)) {\n"
         "		noted_forget(own, id);\n		half_open_forget(own, id);\n	}\n	return error;",
         "a SYN goes where its 4-tuple is known until the END is here, so an END seldom meets another's note; test_xdp_flows has the row"),
    # -- the fast path
    Rule("version", "neither a report nor a note changes the version of its set: the fast path answers as before",
         "bpf/flows.h", "	if (!set)\n		return;\n	/* Somebody", "	if (true)\n		return;\n	/* Somebody"),
    Rule("fast-open-only", "the fast path remembers what has been noted elsewhere",
         "bpf/choose.h", "is_open(&known) && !known.has_noted)", "is_open(&known))",
         "test_xdp_handshakes has the row; here the report that contradicts a note is seldom older than a packet"),
    Rule("restore-connections", "a restarted agent throws away the pinned connections",
         "sync/mirror_connections.c", "	if (!peer || key->service >= MAX_SERVICES ||", "	if (true || !peer ||"),
    Rule("restore-affinities", "a restarted agent throws away the pinned affinities",
         "sync/mirror_claims.c", "	if (!peer || !peer->info.in_roster || key->scope", "	if (true || key->scope"),
    Rule("restore-tentative", "a restarted agent forgets what it has granted and was not told of",
         "sync/mirror_claims.c", "	if (value->granted) {", "	if (false) {",
         "between the restart and its target's session another must be heard; test_mirror_claims has the row"),
    # -- the stream
    Rule("level-events", "an event says what is, not only where to look",
         "tests/model/agent.c", "	*value = (struct target_connection){.cookie",
         "	if (target->said)\n		return target->said - 2;\n	*value = (struct target_connection){.cookie"),
    Rule("another-under-key", "a connection that has taken the place of another under its key is not told of",
         "sync/target_keys.c", "	       (!present || ((const struct connection_entry *)entry)->cookie == value->cookie);", "	       true;",
         "one in 500,000 histories of 1,000 steps; test_target_mirror has the rows: changes_coalesce"),
    Rule("rescan-on-loss", "lost events are not answered with a rescan",
         "tests/model/agent.c", "		target->lost = false;\n		rescan(target);\n		return true;",
         "		target->lost = false;\n		return true;"),
    Rule("changes-sent", "what has changed after it was sent is not sent again",
         "sync/target_table.c", "	take_out(table, entry);\n	append(table, entry);",
         "	if (!entry->told) {\n		take_out(table, entry);\n		append(table, entry);\n	}",
         "the digest mends it within a second; without both it is seen at once"),
    Rule("one-order", "messages of one session overtake each other",
         "tests/model/session.c", "	*message = queue->message[queue->head++];\n",
         "	if (queue->tail - queue->head > 1 && chance(20)) {\n"
         "		struct message first = queue->message[queue->head];\n"
         "		queue->message[queue->head] = queue->message[queue->head + 1];\n"
         "		queue->message[queue->head + 1] = first;\n	}\n"
         "	*message = queue->message[queue->head++];\n"),
    Rule("one-session", "unread bytes of a replaced session are read",
         "tests/model/plane.c", "	world.statistics->resyncs += reason == GOODBYE_RESYNC;\n",
         "	if (reason == GOODBYE_REPLACED)\n		return;\n	world.statistics->resyncs += reason == GOODBYE_RESYNC;\n"),
    Rule("affinities-first", "connections are sent before affinities",
         "sync/target_stream.c", "	return next_affinity(mirror, router, message) || next_connection(mirror, router, message) ||",
         "	return next_connection(mirror, router, message) || next_affinity(mirror, router, message) ||"),
    Rule("drained", "DONE and barriers do not wait for the kernel's ring",
         "sync/target_stream.c", "	if (!peer->drained || mirror->scanning", "	if (mirror->scanning"),
    Rule("sweep-connections", "connections that a snapshot does not name stay",
         "sync/mirror_connections.c", "		if (holding->mark != peer->mark)\n			withdraw", "		if (false)\n			withdraw"),
    Rule("sweep-affinities", "affinities that a snapshot does not name stay",
         "sync/mirror_claims.c", "		if (claim->mark != peer->mark)\n			withdraw", "		if (false)\n			withdraw"),
    Rule("sweep-ready", "readiness that a session does not name stays",
         "sync/mirror_targets.c", "			peer->ready[i].valid = false;", "			;",
         "our targets say READY for every service of the list"),
    Rule("digest", "digests are not compared",
         "sync/router_mirror.c", "	if (peer->info.digest_equal)\n		return 0;", "	peer->info.digest_equal = true;\n	return 0;"),
    # -- takeover
    Rule("barrier", "a new owner does not wait for barriers",
         "sync/mirror_targets.c", "	return mirror->role != ROLE_ACTIVE || peer->barrier_answered;\n}\n\n/*\n * All",
         "	return true;\n}\n\n/*\n * All"),
    Rule("barrier-anew", "a barrier of an earlier activation counts",
         "sync/router_mirror.c", "		if (peer)\n			peer->barrier_answered = false;", "		(void)peer;"),
    Rule("barrier-epoch", "a late answer to an earlier barrier counts",
         "sync/router_mirror.c", "mirror->role != ROLE_ACTIVE || epoch != mirror->epoch", "mirror->role != ROLE_ACTIVE",
         "reports follow an old answer within the 250 ms of a sighting; test_router_mirror has the row"),
    Rule("epoch", "what the agent has written holds for the next term of office too",
         "bpf/choose.h", "	current = sync->epoch == own->epoch;", "	current = true;"),
    Rule("hold-unactivated", "packets that come before `limpet activate` are guessed",
         "bpf/choose.h", "	return !standing->active || question->now_ns <", "	return standing->active && question->now_ns <"),
    Rule("hold-anew", "hold_time counts from the activation, however long ago",
         "bpf/choose.h", "	if (current && sync->missing_since_ns > own->since_ns)", "	if (false)"),
    Rule("hold-unknown", "unknown packets are not held while a table is missing",
         "bpf/choose.h", "	if (standing->in_sync)\n		return false;\n	return", "	return false;\n	return"),
    Rule("hold-syn", "SYNs do not wait for affinities",
         "bpf/choose.h", "	return question->service->affinity != AFFINITY_NONE && !standing->affinities_in_sync &&", "	return false &&"),
    Rule("hold-syn-standby", "a standby that has not got the affinities serves SYNs",
         "bpf/choose.h", "	       (!standing->active || question->now_ns < standing->since_ns + SYN_HOLD_NS)", "	       (standing->active && question->now_ns < standing->since_ns + SYN_HOLD_NS)"),
    Rule("hold-syn-stale", "what a router has of the affinities is believed before all are there",
         "bpf/choose.h", "	if (holds_syn(question, &standing)) {", "	if (holds_syn(question, &standing) && affinity_holder(question, &target) != HOLDER_USABLE) {",
         "one in 60,000 histories of 1,000 steps; test_xdp_hold has the rows: test_syn_held, test_syn_at_standby"),
    Rule("linger-in-doubt", "what lingers is believed while a table is missing",
         "bpf/choose.h", "	get_standing(&standing);\n	return holds(question, &standing, standing.since_ns);", "	return false;"),
    Rule("term-of-office", "flows noted before the last change of role are believed",
         "bpf/choose.h", "	return !own || !target || handshake->ticks <= handshake_ticks(own->since_ns) ||",
         "	return !own || !target ||",
         "test_xdp_hold has the row: test_bygone"),
    Rule("overtaken", "what was granted is waited for, though a higher term has been published",
         "sync/mirror_contests.c", "	if (!claim || !claim->granted || claim->revoked ||", "	if (true ||",
         "one in 150,000 histories of 1,000 steps; test_mirror_claims has the row: granted_and_overtaken"),
    Rule("roster", "only targets with a session are expected",
         "sync/mirror_targets.c", "		mirror->missing += !peer->info.in_sync;",
         "		mirror->missing += peer->open && !peer->info.in_sync;"),
    Rule("roster-on-disk", "a router that boots remembers nobody",
         "tests/model/plane.c", "	router->boots++;", "	memset(router->roster, 0, sizeof(router->roster));\n	router->boots++;"),
    Rule("down-holds", "unknown packets are not held for a target that is down",
         "sync/mirror_targets.c", "		mirror->missing += !peer->info.in_sync;",
         "		mirror->missing += !peer->info.in_sync && peer->info.state != TARGET_DOWN;"),
    # -- flows and connections
    Rule("syn-keeps", "a SYN displaces a connection",
         "bpf/choose.h", "	if (is_held(known)) {", "	if (false) {"),
    Rule("syn-keeps-noted", "a SYN displaces a handshake that was noted",
         "bpf/choose.h", "	if (known->has_noted && !over && !target_dead(noted->target)) {", "	if (false) {"),
    Rule("late-syn", "a late SYN of what is noted opens the 4-tuple anew when an older connection lingers",
         "bpf/choose.h", " &&\n		    (__u16)noted->isn != (__u16)question->tcp->sequence;", ";",
         "a SYN is seldom late while an older connection of its 4-tuple lingers; test_xdp_flows has the row"),
    Rule("isn-match", "a half-open flow matches any sequence number",
         "bpf/choose.h", "known->has_half_open && !is_held(known) &&\n	    half_open_follows(half_open, question->tcp->sequence)",
         "known->has_half_open && !is_held(known)"),
    Rule("noted-first", "a report comes before what this router has noted",
         "bpf/choose.h", "	if (known->has_noted && !(is_open(known) && target_dead(noted->target)))",
         "	if (known->has_noted && !is_open(known))"),
    Rule("noted-wins", "the mirror does not ask what this router has noted",
         "sync/mirror_connections.c", "	if (!mirror->ops.noted)", "	if (true)"),
    Rule("flow-ages", "a noted flow that nobody reports is believed for ever",
         "bpf/choose.h", "	return handshake_ticks(now_ns) >= noted->ticks", "	return false && handshake_ticks(now_ns) >= noted->ticks"),
    Rule("drop-once", "an unknown packet is guessed at first sight",
         "bpf/choose.h", "	if (!sighting_ripe(question->settings, &question->id, since_ns, question->now_ns)) {", "	if (false) {"),
    Rule("guess-affinity", "a guess does not look at the affinity",
         "bpf/choose.h", "	if (holder == HOLDER_USABLE) {\n		count(COUNT_GUESS", "	if (false) {\n		count(COUNT_GUESS",
         "what is in sync and nobody has reported is guessed for the dead alone; test_xdp_hold has the row"),
    Rule("close-owner", "an END removes whoever's entry",
         "sync/mirror_connections.c", "	if (record->target != peer->number)\n		return;\n	next", "	next",
         "another's END comes seldom while an entry lingers; test_mirror_connections has the row"),
    Rule("younger-wins", "of two holders the first stays, though the second has just been established",
         "sync/mirror_connections.c", "	if (fresh && seen != record->target)\n		set_youngest(record, holding);", "	if (false)\n		;",
         "packets that go to a remnant are excused; test_mirror_connections has the row"),
    Rule("successor", "when the holder's entry goes, the other holder's is not put in place",
         "sync/mirror_connections.c", "	next = mirror_record_successor(mirror, record, false);\n	if (next != NO_NUMBER)\n		mirror_record_open",
         "	next = NO_NUMBER;\n	if (next != NO_NUMBER)\n		mirror_record_open"),
    Rule("older-waits", "an older connection of the same key takes the entry when the younger one has closed",
         "sync/mirror_connections.c", "	return holding->older || mirror_target_is_out(mirror, holding->target);", "	return false;",
         "one history in 20,000; test_mirror_connections has the row"),
    Rule("end-how", "of two ends of one key the first that is read says how",
         "sync/target_keys.c", "		if (entry && !present && how == CONNECTION_END_CLOSED)", "		if (false)",
         "one history in 60,000; test_target_mirror has the row"),
    Rule("linger", "what has closed is forgotten at once",
         "sync/mirror_connections.c", "	else if (queue != QUEUE_NONE && record->placed)", "	else if (false)"),
    Rule("dead-gives-way", "a dead target's entry does not give way to a living one's",
         "sync/mirror_targets.c", "	return !peer || peer->info.state == TARGET_GONE;", "	return !peer;",
         "who is at a dead target is lost anyway; test_mirror_connections has the row"),
    Rule("purge", "a target that has left leaves its connections",
         "sync/mirror_targets.c", "	mirror_connections_purge(mirror, peer);\n	mirror_claims_purge", "	mirror_claims_purge"),
    # -- distribution
    Rule("pure-hash", "each router distributes by numbers of its own",
         "tests/model/forward.c", "(uint8_t)current->targets[i].name[1]", "i"),
    Rule("drain", "a drain is not noticed",
         "sync/router_mirror.c", "	peer->info.draining = condition->draining;\n", ""),
    Rule("usable", "an affinity's target gets new connections though it is down",
         "bpf/choose.h", "	if (!target_usable(affinity->target) ||\n", "	if (\n"),
    # -- claims
    Rule("highest-term", "the lowest published term wins",
         "sync/mirror_contests.c", "if (!best || claim_above(mirror, claim, best))", "if (!best || claim_above(mirror, best, claim))"),
    Rule("refuse-held", "a client that is held is granted to anybody",
         "sync/mirror_answers.c", "	    !mirror_target_is_out(mirror, holder) && !may_take_over(mirror, claim)) {", "	    false) {"),
    Rule("answer-in-sync", "claims are answered before all affinities are here",
         "sync/mirror_answers.c", "mirror->role != ROLE_ACTIVE || !router_mirror_affinities_in_sync(mirror)", "mirror->role != ROLE_ACTIVE"),
    Rule("standby-silent", "a standby answers claims",
         "sync/mirror_answers.c", "mirror->role != ROLE_ACTIVE || !router_mirror_affinities_in_sync(mirror)",
         "!router_mirror_affinities_in_sync(mirror)",
         "two rivals would both be refused, which breaks no promise; test_mirror_claims has the row"),
    Rule("grant-first", "what is granted and not published does not come before what is published",
         "sync/mirror_contests.c", "	return !best || (term_above(&contest->tentative_term, &best->term) &&", "	return !best || (false &&"),
    Rule("grant-void", "what is granted comes first though its target is down",
         "sync/mirror_contests.c", "			 !mirror_target_is_out(mirror, contest->tentative));", "			 true);",
         "one history in 20,000; test_mirror_claims has the row"),
    Rule("waits-for-former", "what is taken over before it is published is granted at once",
         "sync/mirror_answers.c", "	if (waits_for_former(mirror, claim))\n		return;", "	if (waits_for_former(mirror, claim))\n		claim->waits = false;"),
    Rule("same-term", "of two affinities with the same term both stay",
         "sync/target_claims.c", "		if (!term_above(&affinity->term, &answer->term))",
         "		if (term_above(&answer->term, &affinity->term))"),
    Rule("published", "a grant, not its publication, displaces the former holder",
         "sync/mirror_contests.c", "	install(mirror, contest, winner, clock, granted);\n	if (contest->claims)",
         "	if (best && winner != best->target) {\n		struct claim *former = mirror_contest_claim(contest, best->target);\n"
         "		if (!former->told && mirror->peers[former->target]->open) {\n			former->told = true;\n"
         "			mirror_claim_reply(mirror, former, MESSAGE_LOST, &contest->tentative_term, 0);\n		}\n	}\n"
         "	install(mirror, contest, winner, clock, granted);\n	if (contest->claims)"),
    Rule("lost", "who has lost is not told",
         "sync/mirror_contests.c", "		mirror_claim_reply(mirror, claim, MESSAGE_LOST, &best->term, 0);", ""),
    Rule("lost-confirmed", "LOST is sent on the word of what is only remembered",
         "sync/mirror_contests.c", "	if (best->session != mirror->peers[best->target]->session)", "	if (false)",
         "needs a lost clock too, one history in 20,000 of 4,000 steps; test_mirror_claims has the row"),
    Rule("gossip-router", "routers do not hear of clocks",
         "sync/router_mirror.c", "	mirror->clock = clock;\n	return 0;", "	return 0;"),
    Rule("gossip-target", "targets do not pass clocks on",
         "sync/target_mirror.c", "	mirror->clock = clock;\n	return 0;", "	return 0;"),
    Rule("void-down", "a claim to a client whose holder is down is refused",
         "sync/mirror_answers.c", "	    !mirror_target_is_out(mirror, holder) && !may_take_over(mirror, claim)) {", "	    !may_take_over(mirror, claim)) {"),
    Rule("ask-new-owner", "a new owner does not answer claims that it has heard as a standby",
         "sync/mirror_answers.c", "			mirror_claim_pend(mirror, claim, true);\n", "",
         "what the former office has granted still counts; test_mirror_claims has the row"),
    Rule("ask-anew", "a claim is answered once, not once a session",
         "sync/mirror_claims.c", "		mirror_claim_begin(claim);\n		claim->told = false;\n		mirror_claim_pend", "		claim->told = false;\n		mirror_claim_pend"),
    Rule("ask-id", "another request of the same target is taken for answered",
         "sync/mirror_claims.c", "	if (claim->id != message->id || published)\n		mirror_claim_begin(claim);", "	if (published)\n		mirror_claim_begin(claim);"),
    Rule("term-pinned", "a restarted target does not remember what is published",
         "sync/target_keys.c", "	if (!mirror->ops.published(mirror->context, key, id, &term))", "	if (true)"),
    Rule("refused-ends", "a refused affinity goes on",
         "sync/target_claims.c", "		end_affinity(mirror, affinity, end_of(answer->reason));", "		;"),
    Rule("lost-higher", "LOST with a lower term ends an affinity",
         "sync/target_claims.c", "		if (!term_above(&affinity->term, &answer->term))", "		if (true)",
         "our routers send LOST with no lower term"),
    Rule("wait-active", "any router's grant publishes",
         "sync/target_claims.c", "	if (needed && !(needed & ~claim->granted))", "	if (needed && claim->granted)"),
    Rule("grants-in-session", "grants outlive their session",
         "sync/target_claims.c", "		claim->granted &= (uint16_t)~reader_bit(router);", "		(void)router;"),
    Rule("unnoticed", "a router whose session has just ended need not grant",
         "sync/target_mirror.c", "		peer->counts_until_ms = mirror->now_ms + UNNOTICED_MS;", "		;"),
    Rule("unattended-waits", "claims do not wait for a target whose agent is away",
         "sync/mirror_targets.c", "	return mirror->now_ms < since + UNATTENDED_MS;", "	return false;"),
    Rule("unattended-ends", "claims wait for a target whose agent is away, for ever",
         "sync/mirror_targets.c", "	return mirror->now_ms < since + UNATTENDED_MS;", "	return true;"),
    Rule("give-up", "a dead target's affinities stay",
         "sync/mirror_targets.c", "	mirror_claims_purge(mirror, peer);\n	mirror_connections_give_up", "	mirror_connections_give_up",
         "a dead target's affinities are void and not used; they would take room; test_router_mirror has the row"),
]

# What "level-events" needs besides.
ALSO = {
    "one-session": [
        ("tests/model/session.c", "	wire_close_at_router(router, wire->target);\n	router_mirror_session_lost",
         "	if (router->wires[wire->target] != wire) {\n		wire->open_at_router = false;\n		return true;\n	}\n"
         "	wire_close_at_router(router, wire->target);\n	router_mirror_session_lost")],
    "level-events": [
    ("tests/model/world.h", "	struct kernel_event ring[EVENTS];", "	int said; /* 0: nothing; 1: absent; 2: present, as -ENOENT and 0 */\n	struct kernel_event ring[EVENTS];"),
    ("tests/model/world.h", "struct kernel_event {\n", "struct kernel_event {\n	int said;\n"),
    ("tests/model/agent.c", "	if (target->said)\n		return target->said - 2;", "	if (target->said)\n		return target->said == 1 ? -ENOENT : 0;"),
    ("tests/model/agent.c", "		target_mirror_connection(target->mirror, &key, event.how);",
     "		target->said = event.said;\n		target_mirror_connection(target->mirror, &key, event.how);\n		target->said = 0;"),
    ("tests/model/agent.c", "	if (!model_connection(key, &client, &port) || !target->sockets[client][port])\n		return -ENOENT;\n",
     "	if (!target->said && (!model_connection(key, &client, &port) || !target->sockets[client][port]))\n		return -ENOENT;\n"),
    ("tests/model/kernel.c", "	if (target->events >= EVENTS) {", "	event.said = !event.affinity && target->sockets[event.client][event.port] ? 2 : 1;\n	if (target->events >= EVENTS) {"),
]}


def replace(tree, file, old, new):
    path = tree / file
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise ValueError(f"{file}: the text of the rule is there {text.count(old)} times, not once")
    path.write_text(text.replace(old, new), encoding="utf-8")


def build(tree, cc):
    sources = [str(path.relative_to(tree)) for pattern in SOURCES for path in sorted(tree.glob(pattern))]
    subprocess.run([cc, *FLAGS, "-o", "explorer", *sources], cwd=tree, check=True)


def explore(tree, runs, limit):
    try:
        done = subprocess.run(["./explorer", "--runs", str(runs)], cwd=tree, capture_output=True, text=True, timeout=limit,
                              errors="replace")
    except subprocess.TimeoutExpired:
        return False, f"nothing within {limit} s"
    lines = done.stdout.splitlines()
    if done.returncode == 0:
        return False, f"nothing in {runs} histories"
    if done.returncode != 1:
        return True, f"ends with status {done.returncode}"
    seed = int(lines[0].split()[1].rstrip(":"))
    short = next((line.split(": ", 1)[1] for line in lines if line.startswith("made short")), lines[0])
    return True, f"after {seed + 1}: {short}"


def switch_off(rule, arguments):
    with tempfile.TemporaryDirectory(prefix="ablate.") as name:
        tree = Path(name)
        for part in ("bpf", "common", "include", "sync", "tests/model"):
            shutil.copytree(ROOT / part, tree / part)
        try:
            if rule.file:
                replace(tree, rule.file, rule.old, rule.new)
            for also in ALSO.get(rule.name, []):
                replace(tree, *also)
            build(tree, arguments.cc)
        except (ValueError, subprocess.CalledProcessError) as error:
            return None, str(error)
        return explore(tree, arguments.runs, arguments.limit)


def check_texts(rules):
    """A rule that was changed without its row here is not switched off by it any more."""
    missing = 0
    for rule in rules:
        texts = {}
        for file, old, new in [(rule.file, rule.old, rule.new), *ALSO.get(rule.name, [])]:
            text = texts.get(file) or (ROOT / file).read_text(encoding="utf-8")
            if text.count(old) != 1:
                print(f"{rule.name}: {file} has not once: {old!r}", file=sys.stderr)
                missing += 1
            texts[file] = text.replace(old, new)
    return 1 if missing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", help="names; all of them if none is given")
    parser.add_argument("--runs", type=int, default=20000, help="histories, at most")
    parser.add_argument("--limit", type=int, default=120, help="seconds, at most")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--check", action="store_true", help="only see whether the rules' texts are there")
    arguments = parser.parse_args()
    unknown = set(arguments.rules) - {rule.name for rule in RULES}
    if unknown:
        parser.error(f"no such rule: {', '.join(sorted(unknown))}")
    rules = [rule for rule in RULES if not arguments.rules or rule.name in arguments.rules]
    if arguments.check:
        return check_texts(rules)
    seen, what = switch_off(Rule("", "", "", "", ""), arguments)
    if seen is not False:
        print(f"with every rule on: {what}", file=sys.stderr)
        return 1
    wrong = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for rule, (seen, what) in zip(rules, pool.map(lambda rule: switch_off(rule, arguments), rules)):
            wrong += seen is None or not seen and not rule.unseen
            print(f"{rule.name:20} {'seen' if seen else 'FAILED' if seen is None else 'unseen':7} {what}"
                  + (f" ({rule.unseen})" if rule.unseen and not seen else ""), flush=True)
    print(f"{len(rules)} rules, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
