"""One release through several environments: forward, held, stopped, and back."""

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.names import (
    CONTROL_QUEUE,
    approval_id,
    deployment_workflow_id,
    promotion_workflow_id,
)
from domain.policy import EnvironmentPolicy, GateRule
from domain.promotion import OnFailure, PromotionPhase, PromotionStage
from domain.promotion_messages import PromotionInput
from domain.strategy import Direct
from tests.workflows.promotion_world import OLD, PromotionWorld
from tests.workflows.world import ANALYSIS
from workflows.release import ReleaseWorkflow

NEW = "2.0.0"
PLAIN = EnvironmentPolicy(analysis=ANALYSIS)
GATED = EnvironmentPolicy(analysis=ANALYSIS, gates=(GateRule(name="promotion", before_wave=1),))


def new_world(count: int = 3, on_failure: OnFailure = OnFailure.KEEP, soak: float = 0, **facts):
    """Environments e-1, e-2, … of names that no other test has."""
    tail = uuid.uuid4().hex[:8]
    stages = tuple(
        PromotionStage(environment=f"e{number}-{tail}", soak=soak, on_failure=on_failure)
        for number in range(1, count + 1)
    )
    return PromotionWorld(**{"nodes": 3, "strategy": Direct(), "policy": PLAIN, "stages": stages, **facts})


def environments(world: PromotionWorld) -> list[str]:
    return [stage.environment for stage in world.stages]


@pytest.fixture
def stage(lane_stage):
    """Lanes go on when a promotion has ended, so every test has a server of its own."""
    return lane_stage


@asynccontextmanager
async def promoted(stage, world: PromotionWorld):
    """A promotion under way."""
    async with stage(world) as scene:
        world.client = scene.client
        name = f"p{uuid.uuid4().hex[:8]}"
        request = PromotionInput(
            tenant="acme", promotion=name, requester="ana", module="greeter", version=NEW
        )
        handle = await scene.client.start_workflow(
            ReleaseWorkflow.run, request, id=promotion_workflow_id(name), task_queue=CONTROL_QUEUE
        )
        yield scene, handle, name


def failing_in(world: PromotionWorld, position: int) -> None:
    """From here on no node of this environment takes the release."""
    wanted = environments(world)[position - 1]
    sound = world._each

    async def each(action, order, version):
        world.refuses = (
            (lambda act, _node: "will not" if act == "activate" else None)
            if order.environment == wanted
            else (lambda _act, _node: None)
        )
        return await sound(action, order, version)

    world._each = each


async def test_every_environment_in_order_each_through_its_lane(stage):
    world = new_world()
    async with promoted(stage, world) as (_, handle, name):
        result = await handle.result()
    assert result.phase is PromotionPhase.COMPLETED
    assert world.path == [PromotionPhase.RUNNING, PromotionPhase.COMPLETED]
    assert [world.versions(each) for each in environments(world)] == [{NEW}] * 3
    ends = [each.deployment for each in world.progress if each.phase and each.phase.terminal]
    assert ends == [f"{name}-{position}-1" for position in (1, 2, 3)]
    begun = list(dict.fromkeys(each.deployment for each in world.progress))
    assert begun == ends, "no environment begins before the one before it has completed"


async def test_a_lane_that_runs_already_is_only_woken(stage):
    world = new_world(count=1)
    async with promoted(stage, world) as (scene, handle, _):
        await handle.result()
        again = PromotionInput(
            tenant="acme",
            promotion=f"q{uuid.uuid4().hex[:8]}",
            requester="ana",
            module="greeter",
            version=NEW,
        )
        second = await scene.client.start_workflow(
            ReleaseWorkflow.run, again, id=promotion_workflow_id(again.promotion), task_queue=CONTROL_QUEUE
        )
        assert (await second.result()).phase is PromotionPhase.COMPLETED


async def test_a_release_soaks_before_it_goes_on(stage):
    world = new_world(count=2, soak=3600)
    async with promoted(stage, world) as (_, handle, _name):
        began = (await handle.describe()).start_time
        await handle.result()
        ended = (await handle.describe()).close_time
    assert (ended - began).total_seconds() >= 3600
    assert (ended - began).total_seconds() < 7200, "there is nothing to go on to after the last"
    assert world.path == [
        PromotionPhase.RUNNING,
        PromotionPhase.SOAKING,
        PromotionPhase.RUNNING,
        PromotionPhase.COMPLETED,
    ]


@pytest.mark.parametrize("on_failure", list(OnFailure))
async def test_a_failure_in_the_third_environment(stage, on_failure):
    world = new_world(on_failure=on_failure)
    failing_in(world, 3)
    async with promoted(stage, world) as (_, handle, name):
        result = await handle.result()
    first, second, third = environments(world)
    assert world.phase_of(f"{name}-3-1") is Phase.ROLLED_BACK_VERIFIED
    assert result.cause.kind is CauseKind.NODE_FAILURES
    assert third in result.cause.message
    assert world.versions(third) == {OLD}
    if on_failure is OnFailure.KEEP:
        assert result.phase is PromotionPhase.STOPPED
        assert world.versions(first) == world.versions(second) == {NEW}
        return
    assert result.phase is PromotionPhase.ROLLED_BACK_VERIFIED
    assert world.versions(first) == world.versions(second) == {OLD}
    turned = [each.deployment for each in world.progress if each.phase is Phase.ROLLED_BACK_VERIFIED]
    assert turned == [f"{name}-3-1", f"{name}-2-back", f"{name}-1-back"], "the last one first"


async def test_nothing_is_taken_back_that_was_not_touched(stage):
    world = new_world(on_failure=OnFailure.ROLLBACK)
    failing_in(world, 1)
    async with promoted(stage, world) as (_, handle, name):
        result = await handle.result()
    assert result.phase is PromotionPhase.STOPPED
    assert set(world.where) == {f"{name}-1-1"}


async def test_an_environment_that_has_moved_on_is_left_alone(stage):
    world = new_world(on_failure=OnFailure.ROLLBACK)
    failing_in(world, 3)
    first, second, _ = environments(world)
    world.moved_on = frozenset((second,))
    async with promoted(stage, world) as (_, handle, _name):
        result = await handle.result()
    assert result.phase is PromotionPhase.ROLLED_BACK_VERIFIED
    assert (world.versions(first), world.versions(second)) == ({OLD}, {NEW})
    assert any("left alone" in each.message for each in world.told)


async def test_an_environment_that_is_not_back_is_named(stage):
    world = new_world(on_failure=OnFailure.ROLLBACK)
    failing_in(world, 3)
    first, *_ = environments(world)
    sound = world._each

    async def each(action, order, version):
        outcome = await sound(action, order, version)
        if action == "verify_reverted" and order.environment == first:
            world.refuses = lambda act, node: "old process" if act == action else None
            return await type(world)._each(world, action, order, None)
        return outcome

    world._each = each
    async with promoted(stage, world) as (_, handle, _name):
        result = await handle.result()
    assert (result.phase, result.unverified) == (PromotionPhase.ROLLED_BACK_UNVERIFIED, (first,))


async def test_what_an_environment_requires_stops_the_promotion(stage):
    world = new_world(count=2)
    world.unmet = environments(world)[1]
    async with promoted(stage, world) as (_, handle, _name):
        result = await handle.result()
    assert result.phase is PromotionPhase.STOPPED
    assert "staging first" in result.cause.message
    assert world.versions(environments(world)[0]) == {NEW}


async def test_a_rejected_gate_stops_it_by_a_persons_word(stage):
    world = new_world(count=2, policy=GATED)
    async with promoted(stage, world) as (scene, handle, name):
        await scene.until(lambda: world.polls, skipping=False)
        gate = approval_id(f"{name}-1-1", "promotion")
        await scene.client.get_workflow_handle(gate).signal("reject", {"approver": "bob"})
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (PromotionPhase.STOPPED, CauseKind.REJECTED)


async def blocked_at(scene, world: PromotionWorld, position: int, name: str) -> None:
    """Wait until the deployment of this environment is changing nodes."""
    await scene.until(
        lambda: world.phase_of(f"{name}-{position}-1") is Phase.ACTIVATING and world.starts, skipping=False
    )


async def released_once_cancelled(scene, world: PromotionWorld, deployment: str) -> None:
    """Let the nodes answer after the deployment has given them up.

    The time-skipping server refuses a request to cancel an activity that has just ended.
    """
    handle = scene.client.get_workflow_handle(deployment_workflow_id(deployment))
    async with asyncio.timeout(30):
        while True:
            asked = [
                event
                async for event in handle.fetch_history_events()
                if event.HasField("activity_task_cancel_requested_event_attributes")
            ]
            if len(asked) == len(world.fleet):
                break
            await asyncio.sleep(0.02)
    world.blocked.set()


@pytest.mark.parametrize("on_failure", list(OnFailure))
async def test_abort_lands_during_a_rollout(stage, on_failure):
    world = new_world(count=1, on_failure=on_failure, blocked=asyncio.Event())
    async with promoted(stage, world) as (scene, handle, name):
        await blocked_at(scene, world, 1, name)
        await handle.signal("abort", {"actor": "eve", "reason": "wrong day"})
        await released_once_cancelled(scene, world, f"{name}-1-1")
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (PromotionPhase.STOPPED, CauseKind.ABORTED)
    assert world.phase_of(f"{name}-1-1") is Phase.ROLLED_BACK_VERIFIED
    assert world.versions(environments(world)[0]) == {OLD}


async def test_abort_lands_while_the_deployment_waits_in_its_lane(stage):
    world = new_world(count=2)
    world.closed_lanes = frozenset((environments(world)[1],))
    async with promoted(stage, world) as (scene, handle, name):
        await scene.until(lambda: f"{name}-2-1" in world.where, skipping=False)
        await handle.signal("abort", {})
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (PromotionPhase.STOPPED, CauseKind.ABORTED)
    assert world.phase_of(f"{name}-2-1") is Phase.ABORTED
    assert world.versions(environments(world)[1]) == {OLD}


@pytest.mark.parametrize("on_failure", list(OnFailure))
async def test_abort_lands_during_a_soak(stage, on_failure):
    world = new_world(count=2, soak=3600, on_failure=on_failure)
    async with promoted(stage, world) as (scene, handle, _name):
        await scene.until(lambda: PromotionPhase.SOAKING in world.path, skipping=False)
        await handle.signal("abort", {"actor": "eve"})
        result = await handle.result()
    back = on_failure is OnFailure.ROLLBACK
    assert result.phase is (PromotionPhase.ROLLED_BACK_VERIFIED if back else PromotionPhase.STOPPED)
    assert world.versions(environments(world)[0]) == {OLD if back else NEW}


@pytest.mark.parametrize("body", [[], [None], [{"actor": "eve"}]], ids=["zero", "null", "valid"])
async def test_stopping_needs_no_argument_at_all(stage, body):
    world = new_world(count=2, soak=3600)
    async with promoted(stage, world) as (scene, handle, _name):
        await scene.until(lambda: PromotionPhase.SOAKING in world.path, skipping=False)
        await handle.signal("abort", args=body)
        assert (await handle.result()).phase is PromotionPhase.STOPPED


async def test_abort_lands_while_paused_between_two_environments(stage):
    world = new_world(count=2, soak=60)
    async with promoted(stage, world) as (scene, handle, _name):
        await scene.until(lambda: PromotionPhase.SOAKING in world.path, skipping=False)
        await handle.signal("pause", {"actor": "eve"})
        await scene.until(lambda: PromotionPhase.PAUSED in world.path, skipping=False)
        over = await scene.env.get_current_time() + timedelta(seconds=70)
        while await scene.env.get_current_time() < over:
            await scene.env.sleep(5)
        assert world.path[-1] is PromotionPhase.PAUSED
        await handle.signal("abort", {"actor": "eve"})
        result = await handle.result()
    assert result.phase is PromotionPhase.STOPPED


async def test_a_cancelled_promotion_ends_what_it_started(stage):
    world = new_world(count=2, blocked=asyncio.Event(), on_failure=OnFailure.ROLLBACK)
    async with promoted(stage, world) as (scene, handle, name):
        await blocked_at(scene, world, 1, name)
        await handle.cancel()
        await released_once_cancelled(scene, world, f"{name}-1-1")
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (PromotionPhase.STOPPED, CauseKind.ABORTED)
    assert world.versions(environments(world)[0]) == {OLD}


async def test_pause_and_resume_reach_the_deployment_under_way(stage):
    world = new_world(count=1, blocked=asyncio.Event())
    async with promoted(stage, world) as (scene, handle, name):
        await blocked_at(scene, world, 1, name)
        await handle.signal("pause", {"actor": "eve"})
        page = scene.client.get_workflow_handle(deployment_workflow_id(f"{name}-1-1"))
        await scene.until(lambda: any("pause by eve" in e.message for e in world.progress), skipping=False)
        world.blocked.set()
        await scene.until(lambda: world.phase_of(f"{name}-1-1") is Phase.PAUSED, skipping=False)
        assert (await page.query("status"))["phase"] == Phase.PAUSED

        await handle.signal("resume", {"actor": "eve"})
        refused = EventKind.PROMOTION_SIGNAL_REFUSED
        await scene.until(lambda: any(each.event is refused for each in world.told), skipping=False)
        tokens = {
            "token": f"ana:{promotion_workflow_id(name)}:resume:1",
            "deployment_token": f"ana:{name}-1-1:resume:2",
        }
        await handle.signal("resume", {"actor": "ana", **tokens})
        result = await handle.result()
    assert result.phase is PromotionPhase.COMPLETED
    assert world.versions(environments(world)[0]) == {NEW}


async def test_a_pause_takes_a_waiting_deployment_out_of_the_queue_and_resume_queues_it_again(stage):
    world = new_world(count=2, unsigned=True)
    second = environments(world)[1]
    world.closed_lanes = frozenset((second,))
    async with promoted(stage, world) as (scene, handle, name):
        await scene.until(lambda: f"{name}-2-1" in world.where, skipping=False)
        await handle.signal("pause", {"actor": "eve"})
        await scene.until(lambda: PromotionPhase.PAUSED in world.path, skipping=False)
        assert world.phase_of(f"{name}-2-1") is Phase.ABORTED
        world.closed_lanes = frozenset()
        await handle.signal("resume", {"actor": "eve"})
        result = await handle.result()
    assert result.phase is PromotionPhase.COMPLETED
    assert world.phase_of(f"{name}-2-2") is Phase.COMPLETED


async def test_the_page_shows_every_environment_and_the_query_answers(stage):
    world = new_world(count=2, soak=3600)
    async with promoted(stage, world) as (scene, handle, name):
        await scene.until(lambda: PromotionPhase.SOAKING in world.path, skipping=False)
        status = await handle.query("status")
        details = str(await handle.query("__temporal_workflow_metadata"))
        await handle.signal("abort", {})
        await handle.result()
    assert (status["phase"], status["environment"]) == ("soaking", environments(world)[0])
    assert status["deployment"] == f"{name}-1-1"
    assert all(each in details for each in environments(world))
    assert "soaks in" in details
