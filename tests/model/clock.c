/* SPDX-License-Identifier: BSD-2-Clause */
/* What the clock decides: silence, ticks, reconnection, and that messages arrive. */
#include "world.h"

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

/* Who has no agent: does it echo, or not answer on its link either? */
static void look_for_unattended(void)
{
	for (unsigned int i = 0; i < TARGETS * ROUTERS; i++) {
		struct node_router *router = &world.routers[i % ROUTERS];
		int number = router_target_number(router, i / ROUTERS);

		if (number < 0)
			continue;
		if (reaches(router, i / ROUTERS)) {
			router_mirror_echo(router->mirror, (uint16_t)number);
			continue;
		}
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

		if (wire->open_at_target || !wire->open_at_router || !router->mirror ||
		    now_ms() < wire->silent_ms + 2000)
			continue;
		wire_close_at_router(router, wire->target);
		router_mirror_session_lost(router->mirror, (uint16_t)number, 0, now_ms());
		router->unpublished = true;
	}
}

static void end_slowness(void)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		struct node_target *target = &world.targets[i];

		if (now_ms() >= target->slow_until_ms)
			target->slow_ring = target->slow_streams = false;
	}
}

void let_pass(uint64_t ms)
{
	uint64_t slice = ms > 20000 ? 1000 : ms > 5000 ? 500 : 100;

	note("%llu ms pass", (unsigned long long)ms);
	wires_prune();
	for (uint64_t passed = 0; passed < ms && !world.violation[0]; passed += slice) {
		wires_drain();
		world.now_us += slice * 1000;
		end_slowness();
		if (passed >= 1000)
			activate_owners();
		notice_silence();
		if (passed >= 1500)
			look_for_unattended();
		for (unsigned int i = 0; i < ROUTERS; i++)
			router_notice_role(&world.routers[i]);
		if (passed >= 500)
			reconnect_all();
		tick();
	}
	if (ms > LONG_MS)
		promise_answers();
}
