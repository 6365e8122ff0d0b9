"""The lane: one at a time, nothing lost, and a deployment that dies is rolled back."""

import asyncio
import uuid

import pytest

from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.messages import Progress, QueuedDeployment
from domain.names import approval_id, deployment_workflow_id, lane_id
from domain.policy import EnvironmentPolicy, GateRule
from domain.strategy import Direct
from tests.workflows.lanes import ends, start_lane
from tests.workflows.world import ANALYSIS, World


def queued(name: str, **facts: object) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=name, requester="ana", module="greeter", version="2.0.0", strategy="direct", **facts
    )


async def submit(scene, environment: str, *names: str):
    for name in names:
        scene.world.queue.append(queued(name))
        handle = await start_lane(scene, environment, {"deployment": name})
    return handle


def direct_world(**facts: object) -> World:
    return World(strategy=Direct(), policy=EnvironmentPolicy(analysis=ANALYSIS), **facts)


def names(count: int) -> list[str]:
    return [f"l-{uuid.uuid4().hex[:8]}" for _ in range(count)]


@pytest.mark.finding("X6")
async def test_deployments_run_one_after_another_in_order_of_arrival(stage):
    wanted = names(4)
    async with stage(direct_world()) as scene:
        handle = await submit(scene, wanted[0], *wanted)
        await scene.until(lambda: len(ends(scene.world)) == 4, skipping=False)
        await handle.terminate()
    order = list(dict.fromkeys(entry.deployment for entry in scene.world.progress))
    assert order == wanted
    told = [entry.deployment for entry in scene.world.progress]
    assert told == sorted(told, key=wanted.index)


async def test_a_deployment_that_is_terminated_ends_in_a_verified_rollback(real_stage):
    (name,) = names(1)
    world = direct_world(blocked=asyncio.Event())
    async with real_stage(world) as scene:
        handle = await submit(scene, name, name)
        await scene.until(lambda: world.starts, skipping=False)
        await scene.client.get_workflow_handle(deployment_workflow_id(name)).terminate("from the console")
        await scene.until(lambda: name in ends(world), skipping=False)
        await handle.terminate()
    assert ends(world)[name] is Phase.ROLLED_BACK_VERIFIED
    assert world.progress[-1].cause.kind is CauseKind.TERMINATED


async def test_a_lane_that_was_terminated_goes_on_with_what_runs_and_what_waits(stage):
    first, second = names(2)
    world = direct_world(blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await submit(scene, first, first)
        await scene.until(lambda: world.starts, skipping=False)
        await handle.terminate("oops")
        handle = await submit(scene, first, second)
        await asyncio.sleep(0)
        assert second not in [entry.deployment for entry in world.progress]
        world.blocked.set()
        await scene.until(lambda: len(ends(world)) == 2, skipping=False)
        await handle.terminate()
    assert ends(world) == {first: Phase.COMPLETED, second: Phase.COMPLETED}


@pytest.mark.finding("12")
async def test_a_frozen_lane_starts_nothing_and_says_why(stage):
    first, second = names(2)
    world = direct_world()
    world.progress.append(
        Progress(
            tenant="acme",
            deployment=first,
            key="rollback-1",
            event=EventKind.FINISHED,
            message="node-03 is not back",
            phase=Phase.ROLLED_BACK_UNVERIFIED,
        )
    )
    async with stage(world) as scene:
        handle = await submit(scene, first, second)
        await scene.until(lambda: world.lane_looks, skipping=False)
        await handle.signal("submit", {})
        await scene.until(lambda: world.lane_looks > 1, skipping=False)
        await handle.terminate()
    assert second not in [entry.deployment for entry in world.progress]


async def test_nodes_are_caught_up_one_after_another_beside_a_rollout_that_waits(stage):
    gate = GateRule(name="promotion", before_wave=1)
    gated = EnvironmentPolicy(analysis=ANALYSIS, gates=(gate,), unsigned_votes=True)
    (rollout, *beside), world = names(3), World(policy=gated, strategy=Direct())
    async with stage(world) as scene:
        handle = await submit(scene, rollout, rollout)
        await scene.until(lambda: world.polls, skipping=False)
        world.policy = direct_world().policy
        for name in beside:
            world.queue.append(queued(name, beside=rollout))
            await handle.signal("submit", {"deployment": name})
        await scene.until(lambda: set(beside) <= set(ends(world)), skipping=False)
        assert rollout not in ends(world)
        waiting = scene.client.get_workflow_handle(approval_id(rollout, "promotion"))
        await waiting.signal("approve", {"approver": "bob"})
        await scene.until(lambda: rollout in ends(world), skipping=False)
        await handle.terminate()
    assert set(ends(world).values()) == {Phase.COMPLETED}
    told = [entry.deployment for entry in world.progress if entry.deployment in beside]
    assert told == sorted(told, key=beside.index)


async def test_a_completed_deployment_can_be_taken_back_by_an_entry_of_its_own(stage):
    first, second = names(2)
    async with stage(direct_world()) as scene:
        await submit(scene, first, first)
        await scene.until(lambda: first in ends(scene.world), skipping=False)
        scene.world.queue.append(queued(second, rolls_back=first))
        handle = scene.client.get_workflow_handle(lane_id("acme", first))
        await handle.signal("submit", {"deployment": second})
        await scene.until(lambda: second in ends(scene.world), skipping=False)
        await handle.terminate()
    assert ends(scene.world)[second] is Phase.ROLLED_BACK_VERIFIED
    assert set(scene.world.running.values()) == {"1.0.0"}
