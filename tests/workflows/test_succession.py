"""One deployment in the place of another: revert first, roll forward, hotfix; overrides of a frozen lane."""

import asyncio
import uuid

from domain.arrival import SupersedeMode
from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.messages import Progress, QueuedDeployment
from domain.names import approval_id
from domain.policy import EnvironmentPolicy
from domain.strategy import Rolling
from tests.workflows.lanes import ends, start_lane
from tests.workflows.world import ANALYSIS, World


def names(count: int) -> list[str]:
    return [f"s-{uuid.uuid4().hex[:8]}" for _ in range(count)]


def queued(name: str, version: str = "2.0.0", **facts: object) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=name, requester="ana", module="greeter", version=version, strategy="rolling", **facts
    )


def rolling_world(**facts: object) -> World:
    return World(
        policy=EnvironmentPolicy(analysis=ANALYSIS),
        strategy=Rolling(batch=3, max_unavailable=1, bake=30),
        **facts,
    )


def causes(world: World) -> dict[str, CauseKind]:
    return {entry.deployment: entry.cause.kind for entry in world.progress if entry.cause}


def overlap(world: World) -> bool:
    """Whether a deployment wrote something after a later one had begun."""
    order = [entry.deployment for entry in world.progress if entry.phase]
    return order != sorted(order, key=list(dict.fromkeys(order)).index)


async def superseded(scene, mode: SupersedeMode, first: str, second: str) -> None:
    """A rollout in its first bake, and another that takes its place."""
    world = scene.world
    world.queue.append(queued(first))
    handle = await start_lane(scene, first)
    await scene.until(lambda: Phase.BAKING in world.phases, skipping=False)
    world.queue.append(queued(second, "3.0.0", supersedes=first, supersede_mode=mode))
    await handle.signal("submit", {"deployment": second})
    await scene.until(lambda: second in ends(world))
    await handle.terminate()


async def test_revert_first_takes_the_running_one_back_before_the_new_one_starts(lane_stage):
    world, (first, second) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        await superseded(scene, SupersedeMode.REVERT_FIRST, first, second)
    assert ends(world) == {first: Phase.ROLLED_BACK_VERIFIED, second: Phase.COMPLETED}
    assert causes(world)[first] is CauseKind.SUPERSEDED
    assert not overlap(world)
    assert set(world.running.values()) == {"3.0.0"}


async def test_roll_forward_stops_the_running_one_and_goes_on_from_there(lane_stage):
    world, (first, second) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        await superseded(scene, SupersedeMode.ROLL_FORWARD, first, second)
    assert ends(world) == {first: Phase.SUPERSEDED, second: Phase.COMPLETED}
    assert causes(world)[first] is CauseKind.SUPERSEDED
    assert not overlap(world)
    by_first = [order for action, order in world.orders if action == "activate" and order.deployment == first]
    assert len(by_first) == 3
    assert set(world.running.values()) == {"3.0.0"}


async def test_roll_forward_finishes_the_batch_that_it_is_on(lane_stage):
    world, (first, second) = rolling_world(blocked=asyncio.Event()), names(2)
    async with lane_stage(world) as scene:
        world.queue.append(queued(first))
        handle = await start_lane(scene, first)
        await scene.until(lambda: world.starts, skipping=False)
        forward = SupersedeMode.ROLL_FORWARD
        world.queue.append(queued(second, "3.0.0", supersedes=first, supersede_mode=forward))
        await handle.signal("submit", {"deployment": second})
        told = EventKind.COMMAND
        await scene.until(lambda: told in [entry.event for entry in world.progress], skipping=False)
        assert first not in ends(world)
        world.blocked.set()
        await scene.until(lambda: second in ends(world))
        await handle.terminate()
    assert ends(world) == {first: Phase.SUPERSEDED, second: Phase.COMPLETED}
    assert set(world.running.values()) == {"3.0.0"}


async def test_a_successor_that_fails_before_it_touched_anything_still_takes_all_back(lane_stage):
    world, (first, second) = rolling_world(), names(2)

    def refuses(action: str, _node: str) -> str | None:
        return "will not" if action == "stage" and world.orders[-1][1].deployment == second else None

    world.refuses = refuses
    async with lane_stage(world) as scene:
        await superseded(scene, SupersedeMode.ROLL_FORWARD, first, second)
    assert ends(world) == {first: Phase.SUPERSEDED, second: Phase.ROLLED_BACK_VERIFIED}
    assert set(world.running.values()) == {"1.0.0"}


async def test_a_hotfix_goes_before_all_that_waits_and_through_a_freeze(lane_stage):
    world, (first, hot) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        handle = await start_lane(scene, first)
        await handle.signal("freeze", {"actor": "ana", "reason": "feast"})
        await scene.until(lambda: world.frozen_now, skipping=False)
        world.queue += [queued(first), queued(hot, "3.0.0", hotfix=True)]
        await handle.signal("submit", {})
        await scene.until(lambda: hot in [entry.deployment for entry in world.progress], skipping=False)
        assert first not in [entry.deployment for entry in world.progress]
        await handle.terminate()


async def test_a_supersede_signal_does_nothing_without_a_successor_in_the_store(stage):
    world = rolling_world()
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.BAKING in world.phases, skipping=False)
        await handle.signal("supersede", {"by": "mallory"})
        await handle.signal("supersede")
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


# Overrides of a lane that an unverified rollback has frozen


def unverified(deployment: str) -> Progress:
    return Progress(
        tenant="acme",
        deployment=deployment,
        key="rollback-1",
        event=EventKind.FINISHED,
        message="node-03 is not back",
        phase=Phase.ROLLED_BACK_UNVERIFIED,
    )


async def vote(scene, gate: str, decision: str) -> None:
    world = scene.world
    await scene.until(lambda: world.polls, skipping=False)
    token = f"root:admin:{gate}:{world.polls[-1].poll.plan}:{decision}:1"
    handle = scene.client.get_workflow_handle(gate)
    await handle.signal(decision, {"approver": "root", "token": token})


async def overriding(scene, decision: str | None, entry: QueuedDeployment, other: str) -> None:
    world, (old,) = scene.world, names(1)
    world.progress.append(unverified(old))
    world.queue += [queued(other), entry]
    handle = await start_lane(scene, old)
    if decision is not None:
        await vote(scene, approval_id(entry.deployment, "override"), decision)
    else:
        await scene.until(lambda: world.polls, skipping=False)
        world.resolved = True
        await handle.signal("resolve", {"actor": "root"})
    await scene.until(lambda: entry.deployment in ends(world))
    await handle.terminate()


async def test_a_rollback_with_an_override_passes_its_gate_and_runs_in_a_frozen_lane(lane_stage):
    world, (undo, other) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        await overriding(scene, "approve", queued(undo, rolls_back="x", override="must"), other)
    assert ends(world)[undo] is Phase.ROLLED_BACK_VERIFIED
    assert other not in [entry.deployment for entry in world.progress]
    [subject] = {record.request.subject.words for record in world.polls}
    assert "although" in subject


async def test_an_override_that_people_refuse_ends_rejected(lane_stage):
    world, (hot, other) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        await overriding(scene, "reject", queued(hot, hotfix=True, override="must"), other)
    assert ends(world)[hot] is Phase.REJECTED
    assert other not in [entry.deployment for entry in world.progress]


async def test_an_override_is_not_needed_any_more_once_the_lane_is_resolved(lane_stage):
    world, (hot, other) = rolling_world(), names(2)
    async with lane_stage(world) as scene:
        await overriding(scene, None, queued(hot, hotfix=True, override="must"), other)
    assert ends(world)[hot] is Phase.COMPLETED
