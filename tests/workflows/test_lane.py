"""The lane: one at a time, nothing lost, and a deployment that dies is rolled back."""

import asyncio
import uuid

from domain.deployment import CauseKind, Phase
from domain.messages import LaneInput, QueuedDeployment
from domain.names import CONTROL_QUEUE, deployment_workflow_id, lane_id
from domain.policy import EnvironmentPolicy
from domain.strategy import Direct
from tests.workflows.test_deployment import refusing
from tests.workflows.world import ANALYSIS, World
from workflows.lane import LaneWorkflow


def queued(name: str, **facts: object) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=name, requester="ana", module="greeter", version="2.0.0", strategy="direct", **facts
    )


async def submit(scene, environment: str, *names: str):
    for name in names:
        scene.world.queue.append(queued(name))
        handle = await scene.client.start_workflow(
            LaneWorkflow.run,
            LaneInput(tenant="acme", environment=environment),
            id=lane_id("acme", environment),
            task_queue=CONTROL_QUEUE,
            start_signal="submit",
            start_signal_args=[{"deployment": name}],
        )
    return handle


def direct_world(**facts: object) -> World:
    return World(strategy=Direct(), policy=EnvironmentPolicy(analysis=ANALYSIS), **facts)


def names(count: int) -> list[str]:
    return [f"l-{uuid.uuid4().hex[:8]}" for _ in range(count)]


def ends(world: World) -> dict[str, Phase]:
    return {entry.deployment: entry.phase for entry in world.progress if entry.phase and entry.phase.terminal}


async def test_deployments_run_one_after_another_in_order_of_arrival(stage):
    wanted = names(4)
    async with stage(direct_world()) as scene:
        handle = await submit(scene, wanted[0], *wanted)
        await scene.until(lambda: len(ends(scene.world)) == 4)
        await handle.terminate()
    order = list(dict.fromkeys(entry.deployment for entry in scene.world.progress))
    assert order == wanted
    told = [entry.deployment for entry in scene.world.progress]
    assert told == sorted(told, key=wanted.index)


async def test_a_deployment_that_is_terminated_ends_in_a_verified_rollback(stage):
    (name,) = names(1)
    world = direct_world(blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await submit(scene, name, name)
        await scene.until(lambda: world.starts)
        await scene.client.get_workflow_handle(deployment_workflow_id(name)).terminate("from the console")
        await scene.until(lambda: name in ends(world))
        await handle.terminate()
    assert ends(world)[name] is Phase.ROLLED_BACK_VERIFIED
    assert world.progress[-1].cause.kind is CauseKind.TERMINATED


async def test_a_lane_that_was_terminated_goes_on_with_what_runs_and_what_waits(stage):
    first, second = names(2)
    world = direct_world(blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await submit(scene, first, first)
        await scene.until(lambda: world.starts)
        await handle.terminate("oops")
        handle = await submit(scene, first, second)
        await asyncio.sleep(0)
        assert second not in [entry.deployment for entry in world.progress]
        world.blocked.set()
        await scene.until(lambda: len(ends(world)) == 2)
        await handle.terminate()
    assert ends(world) == {first: Phase.COMPLETED, second: Phase.COMPLETED}


async def test_an_unverified_rollback_freezes_the_lane(stage):
    first, second = names(2)
    world = direct_world(refuses=refusing("node-03", "verify", "verify_reverted"))
    async with stage(world) as scene:
        handle = await submit(scene, first, first, second)
        await scene.until(lambda: first in ends(world))
        await handle.signal("submit", {})
        view = await handle.query("__temporal_workflow_metadata")
        await scene.until(lambda: True)
        await handle.terminate()
    assert ends(world) == {first: Phase.ROLLED_BACK_UNVERIFIED}
    assert view


async def test_a_completed_deployment_can_be_taken_back_by_an_entry_of_its_own(stage):
    first, second = names(2)
    async with stage(direct_world()) as scene:
        await submit(scene, first, first)
        await scene.until(lambda: first in ends(scene.world))
        scene.world.queue.append(queued(second, rolls_back=first))
        handle = scene.client.get_workflow_handle(lane_id("acme", first))
        await handle.signal("submit", {"deployment": second})
        await scene.until(lambda: second in ends(scene.world))
        await handle.terminate()
    assert ends(scene.world)[second] is Phase.ROLLED_BACK_VERIFIED
    assert set(scene.world.running.values()) == {"1.0.0"}
