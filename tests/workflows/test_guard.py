"""The guard window: what breaks after completion is taken back by itself, through the lane."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import ValidationError

from domain.analysis import Outcome
from domain.deployment import Phase
from domain.events import EventKind
from domain.guard import GuardResult, GuardRule
from domain.messages import LaneInput, Look
from domain.names import CONTROL_QUEUE, guard_id, lane_id
from domain.policy import EnvironmentPolicy
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from tests.conftest import time_skipping_server
from tests.workflows.conftest import Opener, opener
from tests.workflows.world import ANALYSIS, World
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


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 30}, {"seconds": 86400, "interval": 10}, {"seconds": 0}, {"seconds": 60, "misses": 0}],
)
def test_a_rule_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        GuardRule(**wrong)


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
