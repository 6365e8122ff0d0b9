"""Hooks of a deployment: when they are called, what they are told, what their failures mean."""

import asyncio

import pytest

from domain.analysis import Outcome
from domain.deployment import CauseKind, Phase
from domain.hooks import HookOutcome, HookPoint, HookResult, HookRule
from domain.policy import EnvironmentPolicy
from domain.strategy import Canary
from tests.workflows.world import ANALYSIS, World

HTTP = {"kind": "http", "url": "https://hooks.example.com/"}
TOLD_ONLY = ("after-deployment", "before-rollback", "after-rollback")


def hook(at: str, **changes: object) -> HookRule:
    failing = "ignore" if at in TOLD_ONLY else "stop"
    return HookRule.model_validate({"name": "h", "at": at, "call": HTTP, "on_failure": failing, **changes})


def world(*hooks: HookRule, **changes) -> World:
    policy = EnvironmentPolicy(analysis=ANALYSIS, hooks=hooks, unsigned_votes=True)
    return World(policy=policy, strategy=Canary(shares=(50, 100), bake=10), **changes)


def answering(result: HookResult, at: str):
    """This result at one point, and success everywhere else."""
    return lambda order: HookOutcome(
        result=result if order.rule.at == at else HookResult.DONE, message="says the test", link="https://m/1"
    )


async def test_each_point_is_called_in_order_with_the_outcome(stage):
    points = ("before-deployment", "before-wave", "after-wave", "after-deployment", "before-rollback")
    async with stage(world(*(hook(at) for at in points))) as scene:
        result = await (await scene.deploy("d-hooks")).result()
    assert result.phase is Phase.COMPLETED
    assert [(order.rule.at, order.wave, order.outcome) for order in scene.world.hooks] == [
        (HookPoint.BEFORE_DEPLOYMENT, None, None),
        (HookPoint.BEFORE_WAVE, 1, None),
        (HookPoint.AFTER_WAVE, 1, "done"),
        (HookPoint.BEFORE_WAVE, 2, None),
        (HookPoint.AFTER_WAVE, 2, "done"),
        (HookPoint.AFTER_DEPLOYMENT, None, "completed"),
    ]
    assert len({order.id for order in scene.world.hooks}) == 6
    assert {len(order.plan) for order in scene.world.hooks} == {64}


@pytest.mark.parametrize("result", [HookResult.FAILED, HookResult.ABORTED])
async def test_a_hook_before_anything_moves_stops_it_there(stage, result):
    hooks = (hook("before-deployment"), hook("after-deployment"))
    async with stage(world(*hooks, hooked=answering(result, "before-deployment"))) as scene:
        ended = await (await scene.deploy()).result()
    assert (ended.phase, ended.cause.kind) == (Phase.FAILED, CauseKind.HOOK)
    assert "https://m/1" in ended.cause.message
    assert scene.world.touched == []
    assert scene.world.hooks[-1].outcome == "failed"
    assert "says the test" in scene.world.hooks[-1].cause


async def test_a_hook_after_a_wave_turns_back_and_the_rollback_tells_both_times(stage):
    hooks = tuple(hook(at) for at in ("after-wave", *TOLD_ONLY))
    async with stage(world(*hooks, hooked=answering(HookResult.FAILED, "after-wave"))) as scene:
        ended = await (await scene.deploy()).result()
    assert (ended.phase, ended.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.HOOK)
    assert set(scene.world.running.values()) == {"1.0.0"}
    told = [(order.rule.at, order.outcome) for order in scene.world.hooks]
    assert told[1:] == [
        (HookPoint.BEFORE_ROLLBACK, None),
        (HookPoint.AFTER_ROLLBACK, "rolled-back-verified"),
        (HookPoint.AFTER_DEPLOYMENT, "rolled-back-verified"),
    ]


async def test_an_ignored_failure_goes_on(stage):
    gentle = hook("before-wave", on_failure="ignore")
    async with stage(world(gentle, hooked=answering(HookResult.FAILED, "before-wave"))) as scene:
        assert (await (await scene.deploy()).result()).phase is Phase.COMPLETED
    assert len(scene.world.hooks) == 2


async def test_a_failure_that_holds_waits_for_a_person(stage):
    holding = hook("before-wave", on_failure="hold")
    tried: list[int] = []

    def once(order) -> HookOutcome:
        tried.append(order.wave)
        failed = order.wave == 1
        return HookOutcome(result=HookResult.FAILED if failed else HookResult.DONE, message="down")

    async with stage(world(holding, hooked=once)) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in scene.world.phases)
        assert scene.world.touched == []
        await handle.signal("promote", {"actor": "ana"})
        assert (await handle.result()).phase is Phase.COMPLETED
    assert tried == [1, 2]


async def test_abort_ends_the_asking_of_a_polled_hook(lane_stage):
    scripted = world(hook("before-wave", polled=True), silent=asyncio.Event())
    async with lane_stage(scripted) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: scripted.hooks, skipping=False)
        assert Phase.HOLDING in scene.world.phases
        await handle.signal("abort", {"actor": "ana"})
        assert (await handle.result()).phase is Phase.ABORTED
    assert scene.world.touched == []


@pytest.mark.parametrize("at", ["before-rollback", "after-rollback"])
async def test_no_hook_blocks_a_rollback(stage, at):
    scripted = world(hook(at), verdict=lambda look: Outcome.FAIL, silent=asyncio.Event())
    async with stage(scripted) as scene:
        handle = await scene.deploy()
        ended = asyncio.create_task(handle.result())  # time is skipped while it waits, but not amid a hook
        await scene.until(lambda: Phase.ROLLED_BACK_VERIFIED in scripted.phases, skipping=False)
        assert set(scripted.running.values()) == {"1.0.0"}
        await scene.until(lambda: scripted.hooks, skipping=False)
        assert not scripted.silent.is_set()
        scripted.silent.set()
        assert (await ended).phase is Phase.ROLLED_BACK_VERIFIED
    assert [order.rule.at for order in scripted.hooks] == [at]
