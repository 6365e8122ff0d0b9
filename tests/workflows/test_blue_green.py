"""Blue-green as a story: beside, tested, asked, switched, kept, retired; and back from every point."""

import pytest

from domain.analysis import Outcome
from domain.deployment import CauseKind, Phase
from domain.gate import Decision
from domain.policy import EnvironmentPolicy, GateRule
from domain.strategy import BlueGreen, Canary
from tests.workflows.test_deployment import NO_GATE, refusing, vote
from tests.workflows.world import ANALYSIS, World

QUICK = BlueGreen(watch=30, keep=300)
GATED = EnvironmentPolicy(gates=(GateRule(name="promotion"),), analysis=ANALYSIS)
DONE = ["stage", "start", "smoke", "switch", "verify", "verify", "verify", "settle"]


def actions(world: World) -> list[str]:
    """The kinds of orders, in order, without repeats within a wave's batches."""
    found = [action for action, _ in world.orders]
    changes = [index for index in range(len(found)) if index % world.nodes == 0]
    return [found[index] for index in changes]


async def test_green_is_tested_and_approved_before_all_nodes_are_switched(stage):
    world = World(policy=GATED, strategy=QUICK)
    async with stage(world) as scene:
        handle = await scene.deploy("d-green")
        await scene.until(lambda: world.polls)
        assert set(world.running.values()) == {"1.0.0"}
        assert len(world.beside) == world.nodes
        await vote(scene, "d-green")
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert set(world.running.values()) == {"2.0.0"}
    assert world.beside == []
    assert actions(world) == DONE
    assert all(order.beside for _, order in world.orders)


async def test_promote_skips_the_keeping_and_retires_at_once(stage):
    world = World(policy=EnvironmentPolicy(unsigned_votes=True), strategy=BlueGreen(watch=0, keep=3 * 3600))
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.BAKING in world.phases)
        await handle.signal("promote", {"actor": "ana"})
        assert (await handle.result()).phase is Phase.COMPLETED
    assert world.beside == []


@pytest.mark.parametrize("failing", ["stage", "start", "smoke", "switch", "verify", "settle"])
async def test_a_node_that_fails_at_any_point_turns_back_and_leaves_nothing_beside(stage, failing):
    world = World(policy=NO_GATE, strategy=QUICK, refuses=refusing("node-05", failing))
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    ended = Phase.FAILED if failing == "stage" else Phase.ROLLED_BACK_VERIFIED
    assert (result.phase, result.cause.kind) == (ended, CauseKind.NODE_FAILURES)
    assert "node-05" in result.cause.message
    assert set(world.running.values()) == {"1.0.0"}
    assert world.beside == []


async def test_a_rejection_before_the_switch_ends_green(stage):
    world = World(policy=GATED, strategy=QUICK)
    async with stage(world) as scene:
        handle = await scene.deploy("d-no-green")
        await vote(scene, "d-no-green", Decision.REJECT)
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.REJECTED)
    assert (set(world.running.values()), world.beside) == ({"1.0.0"}, [])
    assert "switch" not in actions(world)


async def test_an_abort_while_blue_is_kept_returns_to_it(stage):
    world = World(policy=NO_GATE, strategy=BlueGreen(watch=0, keep=3600))
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.BAKING in world.phases)
        await handle.signal("abort", {"actor": "ana", "reason": "customers complain"})
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ABORTED)
    assert (set(world.running.values()), world.beside) == ({"1.0.0"}, [])


@pytest.mark.parametrize("strategy", [BlueGreen(watch=0, analyze=True, keep=0), Canary(shares=(100,))])
async def test_where_nothing_is_left_to_compare_with_the_nodes_are_judged_by_their_health(stage, strategy):
    world = World(policy=NO_GATE, strategy=strategy, verdict=lambda look: Outcome.FAIL)
    if strategy.kind == "canary":
        world.running = dict.fromkeys(world.running, None)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert {(look.analysis.against, look.analysis.baseline) for look in world.looks} == {("health", ())}
