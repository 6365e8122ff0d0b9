"""Sick nodes are quarantined and the release goes on; an outage holds; a bad release still turns back."""

from collections.abc import Callable

import pytest

from domain.attribution import IllBudget
from domain.deployment import CauseKind, Phase
from domain.errors import DiskFull, HookFailed, ModuleNotReady, NodeUnreachable, SmokeFailed, ZoneShort
from domain.events import EventKind
from domain.policy import EnvironmentPolicy, FailureBudget
from domain.strategy import Direct, Rolling
from tests.workflows.world import World

SICK = {"node-03": DiskFull.code, "node-07": NodeUnreachable.code, "node-12": NodeUnreachable.code}


def failing(on: str, codes: dict[str, str]) -> Callable[[str, str], str | None]:
    return lambda action, node: codes.get(node) if action == on else None


def world_of(codes: dict[str, str], *, on: str = "activate", nodes: int = 20, **policy: object) -> World:
    strategy = Rolling(batch=5, max_unavailable=5, bake=1)
    return World(
        nodes=nodes,
        policy=EnvironmentPolicy(ill=IllBudget(share=0.2), **policy),
        strategy=strategy,
        refuses=failing(on, codes),
        codes=True,
    )


async def test_sick_nodes_are_quarantined_by_name_and_the_release_is_promoted(stage):
    world = world_of(SICK)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert set(result.quarantined) == set(SICK)
    assert {each.node: each.code for order in world.quarantines for each in order.nodes} == SICK
    assert all(name in world.progress[-1].message for name in SICK)
    assert {name for name, version in world.running.items() if version == "1.0.0"} == set(SICK)


async def test_a_bad_release_on_the_same_fleet_turns_back(stage):
    world = world_of({**SICK, "node-02": ModuleNotReady.code})
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.NODE_FAILURES)
    assert "node-02" in result.cause.message


async def test_the_same_fault_on_a_node_that_was_ill_before_is_the_nodes(stage):
    world = world_of({"node-02": ModuleNotReady.code})
    world.ailing = ("node-02",)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.quarantined) == (Phase.COMPLETED, ("node-02",))


async def test_too_many_sick_nodes_turn_the_rollout_back_without_blaming_the_release(stage):
    codes = {f"node-{number:02}": DiskFull.code for number in (1, 5, 9, 13, 17)}
    async with stage(world_of(codes)) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.INFRASTRUCTURE)


async def test_a_node_whose_hook_fails_is_left_out_and_is_not_quarantined(stage):
    world = world_of({"node-02": HookFailed.code})
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.quarantined, world.quarantines) == (Phase.COMPLETED, (), [])
    assert "lost: node-02" in world.progress[-1].message


async def test_hooks_that_fail_on_too_many_nodes_turn_the_rollout_back_and_are_its_cause(stage):
    codes = {f"node-{number:02}": HookFailed.code for number in (1, 5, 9, 13, 17)}
    async with stage(world_of(codes)) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.HOOK)
    assert "(operator)" in result.cause.message


async def test_an_outage_holds_and_a_person_tries_again_when_it_is_over(stage):
    codes = {f"node-{number:02}": NodeUnreachable.code for number in range(1, 9)}
    world = world_of(codes, nodes=8, unsigned_votes=True)
    world.strategy = Direct()
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in world.phases)
        assert world.quarantines == []
        codes.clear()
        await handle.signal("promote", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert set(world.running.values()) == {"2.0.0"}
    assert any(each.event is EventKind.NODES_FAILED for each in world.progress)


async def test_a_zone_that_cannot_spare_a_node_holds_until_a_person_tries_again(stage):
    codes = {"node-02": ZoneShort.code}
    world = world_of(codes, unsigned_votes=True)
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in world.phases)
        assert "to start node-02" in world.progress[-1].message
        codes.clear()
        await handle.signal("promote", {"actor": "ana"})
        result = await handle.result()
    assert (result.phase, world.quarantines) == (Phase.COMPLETED, [])
    assert set(world.running.values()) == {"2.0.0"}


async def test_what_the_release_may_break_does_not_keep_the_others_from_being_changed(stage):
    """Early in the rollout, when a share of the nodes that had their turn would still be a large one."""
    world = world_of(
        {"node-01": ModuleNotReady.code, "node-06": SmokeFailed.code},
        on="stage",
        failures=FailureBudget(share=0.2, minimum_executed=3),
    )
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.quarantined) == (Phase.COMPLETED, ())
    old = {name for name, version in world.running.items() if version == "1.0.0"}
    assert old == {"node-01", "node-06"}
    verified = [name for action, order in world.orders if action == "verify" for name in order.nodes]
    assert {*verified} == {*world.running} - old


@pytest.mark.parametrize("codes", [["node-02", "node-03"], ["node-01", "node-02", "node-03", "node-04"]])
async def test_what_is_too_much_for_one_wave_is_not_outweighed_by_the_others(stage, codes):
    budget = FailureBudget(share=0.3, minimum_executed=3)
    world = world_of(dict.fromkeys(codes, ModuleNotReady.code), failures=budget)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.NODE_FAILURES)
    assert len(world.touched) <= 10


async def test_a_wave_without_a_node_left_is_no_success(stage):
    world = world_of({"node-01": DiskFull.code}, nodes=1)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.NODE_FAILURES)
    assert "no node of wave 1 is left" in result.cause.message
