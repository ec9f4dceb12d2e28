/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenes of many steps, that chance alone seldom plays. */
#include "world.h"

static void some_traffic(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++) {
		if (chance(30))
			do_connect();
		if (chance(50))
			do_data();
		do_deliver();
		world.now_us += 10;
	}
}

static void take_over(void)
{
	if (chance(50) && world.routers[0].up && world.routers[1].up)
		kill_router(&world.routers[world.owner]);
	else
		do_hand_back();
	activate_owners();
	for (unsigned int i = 0; i < ROUTERS; i++)
		router_notice_role(&world.routers[i]);
}

static void restart_router_agent(void)
{
	struct node_router *router = any_router();

	if (!router->up)
		return;
	if (router->mirror)
		router_stop_agent(router);
	router_start_agent(router);
	do_reconnect();
}

/* Several targets claim, and the routers' roles change. */
void do_rivalry(void)
{
	static void (*const moves[])(void) = {do_event, do_send, do_router_read, do_target_read};

	for (unsigned int i = 0; i < 8; i++) {
		do_request();
		if (chance(15))
			do_release();
		if (chance(10))
			do_break();
		if (chance(10) && !two_active())
			take_over();
		if (chance(5))
			restart_router_agent();
		for (unsigned int j = draw(40); j; j--) {
			moves[draw(4)]();
			world.now_us += 10;
		}
		do_publish();
		some_traffic(8);
	}
}

/* The address moves while a target has not told what has just begun there. */
void do_busy_takeover(void)
{
	if (two_active())
		return;
	do_be_slow();
	some_traffic(40);
	if (chance(50))
		do_request();
	take_over();
	for (unsigned int i = 0; i < 3; i++) {
		some_traffic(20);
		let_pass(300);
	}
	some_traffic(20);
}

/* The address comes and goes while the answer to a barrier is on its way, and what begins in
 * between is not told. */
void do_flapping(void)
{
	if (two_active())
		return;
	take_over();
	for (unsigned int i = draw(40); i; i--)
		(chance(50) ? do_target_read : do_send)();
	take_over();
	some_traffic(10);
	do_be_slow();
	some_traffic(20);
	take_over();
	for (unsigned int i = 0; i < 4; i++) {
		let_pass(300);
		some_traffic(10);
	}
}

/* Nobody who is there remembers the clock: the routers lose power while a target has no agent, and
 * another claims its client. */
void do_amnesia(void)
{
	struct node_target *target = any_target();

	if (!target->mirror || !world.routers[0].up || !world.routers[1].up)
		return;
	target_stop_agent(target, 0);
	for (unsigned int i = 0; i < ROUTERS; i++) {
		router_set_role(&world.routers[i], ROLE_STANDBY);
		if (world.routers[i].mirror)
			router_stop_agent(&world.routers[i]);
		router_boot(&world.routers[i]);
		router_start_agent(&world.routers[i]);
	}
	let_pass(12000);
	for (unsigned int i = 0; i < 4; i++) {
		some_traffic(20);
		do_request();
		let_pass(300);
	}
}
