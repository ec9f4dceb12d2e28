/* SPDX-License-Identifier: BSD-2-Clause */
/* What the clock decides: silence, ticks, reconnection, and that messages arrive. */
#include "world.h"

#define SLOW_MS 3000 /* the longest that a target is slow */

static void heartbeat(struct wire *wire)
{
	struct message message = {.type = MESSAGE_HEARTBEAT};

	if (!wire->open_at_target || !wire->open_at_router)
		return;
	message.heartbeat.clock = target_mirror_clock(world.targets[wire->target].mirror);
	wire_push(&wire->up, &message);
	message.heartbeat.clock = router_mirror_clock(world.routers[wire->router].mirror);
	wire_push(&wire->down, &message);
}

static void tick(void)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (!world.routers[i].mirror)
			continue;
		router_mirror_tick(world.routers[i].mirror, now_ms());
		world.routers[i].unpublished = true;
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (world.targets[i].mirror)
			target_mirror_tick(world.targets[i].mirror, now_ms());
	}
	for (struct wire *wire = world.wires; wire; wire = wire->next)
		heartbeat(wire);
	wires_drain();
}

void reconnect_all(void)
{
	for (unsigned int i = 0; i < TARGETS * ROUTERS; i++) {
		struct node_target *target = &world.targets[i / ROUTERS];
		struct node_router *router = &world.routers[i % ROUTERS];

		if (!target->wires[router->n])
			wire_open(target, router);
	}
}

/* Who has no agent and does not answer on its link either. */
static void look_for_unattended(void)
{
	for (unsigned int i = 0; i < TARGETS * ROUTERS; i++) {
		struct node_router *router = &world.routers[i % ROUTERS];
		int number = router_target_number(router, i / ROUTERS);

		if (number < 0 || reaches(router, i / ROUTERS))
			continue;
		if (router_mirror_target(router->mirror, (uint16_t)number)->state !=
		    TARGET_UNATTENDED)
			continue;
		router_mirror_session_lost(router->mirror, (uint16_t)number, 0, now_ms());
		router->unpublished = true;
	}
}

/* Two seconds of silence: the routers' ends of streams that were cut off. */
static void notice_silence(void)
{
	for (struct wire *wire = world.wires; wire; wire = wire->next) {
		struct node_router *router = &world.routers[wire->router];
		int number = router_target_number(router, wire->target);

		if (wire->open_at_target || !wire->open_at_router || !router->mirror)
			continue;
		wire_close_at_router(router, wire->target);
		router_mirror_session_lost(router->mirror, (uint16_t)number, 0, now_ms());
		router->unpublished = true;
	}
	look_for_unattended();
}

void let_pass(uint64_t ms)
{
	uint64_t slice = ms > 20000 ? 1000 : ms > 5000 ? 500 : 100;

	note("%llu ms pass", (unsigned long long)ms);
	wires_prune();
	for (uint64_t passed = 0; passed < ms && !world.violation[0]; passed += slice) {
		wires_drain();
		world.now_us += slice * 1000;
		if (passed >= 1000)
			activate_owners();
		if (passed >= 1500)
			notice_silence();
		for (unsigned int i = 0; i < ROUTERS; i++)
			router_notice_role(&world.routers[i]);
		if (passed >= 500)
			reconnect_all();
		tick();
	}
	if (ms > LONG_MS)
		promise_answers();
}

static void let_one_be_slow(void)
{
	struct node_target *slow = any_target();
	unsigned int kind = draw(3);

	if (two_active() || slow->was_slow || !chance(40)) {
		slow->was_slow = false;
		return;
	}
	slow->was_slow = true;
	slow->slow_ring = kind != 1;
	slow->slow_streams = kind != 0;
	slow->changed_ms = now_ms() + SLOW_MS;
	note("t%u is slow:%s%s", slow->n, kind != 1 ? " it does not read its events" : "",
	     kind != 0 ? " its streams stand still" : "");
}

/* As let_pass; a busy target may need more than the usual time for what it has to do. */
void let_pass_slowly(uint64_t ms)
{
	let_one_be_slow();
	let_pass(ms);
	for (unsigned int i = 0; i < TARGETS; i++)
		world.targets[i].slow_ring = world.targets[i].slow_streams = false;
}
