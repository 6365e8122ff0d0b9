"""The guard window: what breaks after completion is taken back by itself, through the lane."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from domain.analysis import Outcome
from domain.deployment import Phase
from domain.events import EventKind
from domain.guard import GuardResult, GuardRule
from domain.guarding import Guarded, GuardInput
from domain.measuring import Measured, MeasureOrder
from domain.messages import LaneInput, Look
from domain.names import CONTROL_QUEUE, guard_id, lane_id
from domain.policy import EnvironmentPolicy
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from tests.conftest import time_skipping_server
from tests.workflows.conftest import Opener, opener
from tests.workflows.test_conditions import check, said
from tests.workflows.world import ANALYSIS, World
from workflows.guard import GuardWorkflow
from workflows.lane import LaneWorkflow

RULE = GuardRule(seconds=900, interval=60, window=120, misses=2)
STRATEGIES = {
    "direct": Direct(),
    "rolling": Rolling(batch=5, max_unavailable=5, bake=1),
    "canary": Canary(bake=1),
    "blue-green": BlueGreen(watch=1, keep=1),
}


@pytest_asyncio.fixture(loop_scope="session")
async def stage() -> AsyncIterator[Opener]:
    """A server for each test: a child that outlives its parent keeps the server's time when it has ended."""
    async with time_skipping_server() as environment:
        yield opener(environment)


class Broken:
    """Passes until the guard's look number `first`, and fails `times` looks from then on."""

    def __init__(self, first: int, times: int = 10_000) -> None:
        self.failing = range(first, first + times)

    def __call__(self, look: Look) -> Outcome:
        guarding = look.analysis.analysis.startswith("guard-")
        return Outcome.FAIL if guarding and look.number in self.failing else Outcome.PASS


def world_of(strategy, verdict) -> World:
    policy = EnvironmentPolicy(analysis=ANALYSIS, guard=RULE)
    return World(policy=policy, strategy=strategy, verdict=verdict)


async def guarded(scene, name: str) -> GuardResult:
    assert (await (await scene.deploy(name)).result()).phase is Phase.COMPLETED
    ends = (EventKind.GUARD_CLOSED, EventKind.GUARD_BREACHED)
    await scene.until(lambda: any(entry.event in ends for entry in scene.world.progress))
    handle = scene.client.get_workflow_handle(guard_id(name), result_type=GuardResult)
    return await handle.result()


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_every_strategy_is_watched_and_what_came_later_is_left_alone(stage, strategy):
    world = world_of(STRATEGIES[strategy], Broken(first=3))
    world.replaced = True
    async with stage(world) as scene:
        result = await guarded(scene, f"d-{strategy}")
    assert (result.breached, result.rollback) == (True, None)
    assert [breach.deployment for breach in world.breaches] == [f"d-{strategy}"]
    assert "came later" in world.progress[-1].message


async def test_one_bad_look_is_no_breach(stage):
    world = world_of(Direct(), Broken(first=5, times=1))
    async with stage(world) as scene:
        result = await guarded(scene, "d-blip")
    assert (result.breached, world.breaches) == (False, [])
    assert set(world.running.values()) == {"2.0.0"}
    kinds = [entry.event for entry in world.progress]
    assert kinds[-1] is EventKind.GUARD_CLOSED
    assert EventKind.GUARD_OPENED in kinds


CHECKED = RULE.model_copy(
    update={"conditions": (check(interval=60.0), check("other", interval=60.0, count=3))}
)


async def checked(stage, answer, name: str) -> tuple[GuardResult, World]:
    world = World(policy=EnvironmentPolicy(analysis=ANALYSIS, guard=CHECKED), strategy=Direct())
    world.measured, world.replaced = answer, True
    async with stage(world) as scene:
        return await guarded(scene, name), world


def outages(order: MeasureOrder) -> Measured:
    """One provider never answers, the other always does."""
    if order.check.metric.name == "rate":
        return Measured(outage="nobody there")
    return said("successful")(order)


async def test_a_provider_that_is_down_is_no_breach_and_blinds_no_other_check(stage):
    result, world = await checked(stage, outages, "d-outage")
    assert not result.breached
    assert "does not answer" in result.reason
    [conclusion] = world.conclusions
    assert conclusion.analysis.analysis == guard_id("d-outage")
    outcomes = {each.metric: each.outcome for each in conclusion.verdict.metrics}
    assert outcomes == {"rate": Outcome.INCONCLUSIVE, "other": Outcome.PASS}
    assert len([each for each in world.measurements if each.check.metric.name == "rate"]) > 31


async def test_a_check_that_fails_is_a_breach(stage):
    result, world = await checked(stage, said("successful", after=6), "d-checked")
    assert result.breached
    assert "rate" in result.reason
    assert [breach.deployment for breach in world.breaches] == ["d-checked"]
    assert world.conclusions[0].verdict.outcome is Outcome.FAIL


async def test_a_look_that_cannot_be_taken_does_not_end_the_guard(stage):
    def broken(look: Look) -> Outcome:
        if look.number == 2:
            raise ApplicationError("a defect of ours", non_retryable=True)
        return Outcome.PASS

    async with stage(world_of(Direct(), broken)) as scene:
        result = await guarded(scene, "d-defect")
    assert not result.breached
    assert "1 of 15 looks could not judge" in result.reason


async def test_a_guard_goes_on_where_its_last_run_stood(stage):
    """The history of the run before had no room left: one look before the breach."""
    world = world_of(Direct(), Broken(first=1))
    world.replaced = True
    async with stage(world) as scene:
        stands = Guarded(opened=(await scene.env.get_current_time()).timestamp() - 60, looks=7, misses=1)
        request = GuardInput(
            tenant="acme",
            environment="production",
            deployment="d-long",
            module="greeter",
            version="2.0.0",
            nodes=("node-01",),
            wave=1,
            rule=RULE,
            continues=stands,
        )
        result = await scene.client.execute_workflow(
            GuardWorkflow.run, request, id=guard_id("d-long"), task_queue=CONTROL_QUEUE
        )
    assert result.breached
    assert [look.number for look in world.looks] == [8]
    assert EventKind.GUARD_OPENED not in [entry.event for entry in world.progress]


async def test_a_regression_ten_minutes_after_completion_is_taken_back_through_the_lane(stage):
    # The last of this module: the lane that it leaves behind would keep the server's time from passing.
    world = world_of(Direct(), Broken(first=10))
    async with stage(world) as scene:
        lane = LaneInput(tenant="acme", environment="production")
        await scene.client.start_workflow(
            LaneWorkflow.run, lane, id=lane_id("acme", "production"), task_queue=CONTROL_QUEUE
        )
        result = await guarded(scene, "d-guard")
        assert (result.breached, result.rollback) == (True, "d-guard-guard")
        await scene.until(lambda: world.progress[-1].phase is Phase.ROLLED_BACK_VERIFIED)
    assert max(look.number for look in world.looks) == 11
    assert set(world.running.values()) == {"1.0.0"}
