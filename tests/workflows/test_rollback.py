"""A rollback that cannot prove every node to be back: rounds, then a person, then an honest end."""

from collections.abc import Callable

import pytest

from domain.analysis import Outcome
from domain.deployment import Phase
from domain.events import EventKind
from domain.names import rollback_id
from domain.policy import EnvironmentPolicy, RollbackRule
from domain.strategy import Direct
from tests.workflows.world import ANALYSIS, World

RULE = RollbackRule(rounds=2, pause=5, ask_for=3600)
STUBBORN = ("node-01", "node-02")


class Stubborn:
    """Refuses the activation of one node, so that all goes back, and the read-back of `names` until cured."""

    def __init__(self, names: tuple[str, ...] = STUBBORN) -> None:
        self.names = names

    def __call__(self, action: str, node: str) -> str | None:
        if action == "activate" and node == "node-10":
            return "does not start"
        return "runs something else" if action == "verify_reverted" and node in self.names else None


def world_of(refuses: Callable[[str, str], str | None], rule: RollbackRule = RULE) -> World:
    policy = EnvironmentPolicy(analysis=ANALYSIS, rollback=rule)
    return World(policy=policy, strategy=Direct(), refuses=refuses, verdict=lambda _look: Outcome.PASS)


async def stuck(scene, world: World, times: int = 1) -> None:
    await scene.until(
        lambda: sum(entry.event is EventKind.ROLLBACK_STUCK for entry in world.progress) >= times
    )


def rounds_of(world: World) -> int:
    return sum(entry.event is EventKind.NODES_FAILED and "round" in entry.message for entry in world.progress)


@pytest.mark.finding("12")
async def test_the_alarm_names_the_nodes_and_what_a_person_may_order(stage):
    world = world_of(Stubborn())
    async with stage(world) as scene:
        handle = await scene.deploy("d-alarm")
        await stuck(scene, world)
        waiting = [entry for entry in world.progress if entry.phase is Phase.ROLLING_BACK][-1]
        assert waiting.waiting_for == "a person: retry, skip_node or abandon"
        assert all(name in waiting.message for name in STUBBORN)
        await scene.client.get_workflow_handle(rollback_id("d-alarm")).signal("abandon", {"actor": "ana"})
        result = await handle.result()
    assert (result.phase, result.unverified) == (Phase.ROLLED_BACK_UNVERIFIED, STUBBORN)
    assert rounds_of(world) == RULE.rounds


@pytest.mark.finding("12")
async def test_a_retry_after_the_nodes_were_mended_ends_verified(stage):
    stubborn = Stubborn()
    world = world_of(stubborn)
    async with stage(world) as scene:
        handle = await scene.deploy("d-retry")
        await stuck(scene, world)
        stubborn.names = ()
        await scene.client.get_workflow_handle(rollback_id("d-retry")).signal("retry", {"actor": "ana"})
        result = await handle.result()
    assert (result.phase, result.unverified) == (Phase.ROLLED_BACK_VERIFIED, ())
    assert set(world.running.values()) == {"1.0.0"}


async def test_a_skipped_node_is_named_at_the_end_and_the_others_go_on(stage):
    stubborn = Stubborn()
    world = world_of(stubborn)
    async with stage(world) as scene:
        handle = await scene.deploy("d-skip")
        await stuck(scene, world)
        rollback = scene.client.get_workflow_handle(rollback_id("d-skip"))
        await rollback.signal("skip_node", {"actor": "ana", "node": "node-02", "reason": "dead disk"})
        await stuck(scene, world, times=2)
        stubborn.names = ("node-02",)
        await rollback.signal("retry", {"token": "ana:d-skip:retry:1"})
        result = await handle.result()
    assert (result.phase, result.unverified) == (Phase.ROLLED_BACK_UNVERIFIED, ("node-02",))
    orders = [entry for entry in world.progress if entry.event is EventKind.COMMAND]
    assert [entry.actor for entry in orders] == ["ana (unverified)", "ana"]
    assert "dead disk" in orders[0].message


async def test_a_node_that_is_back_cannot_be_skipped(stage):
    world = world_of(Stubborn())
    async with stage(world) as scene:
        handle = await scene.deploy("d-wrong")
        await stuck(scene, world)
        rollback = scene.client.get_workflow_handle(rollback_id("d-wrong"))
        await rollback.signal("skip_node", {"actor": "ana", "node": "node-05"})
        await scene.until(lambda: any(each.event is EventKind.SIGNAL_REFUSED for each in world.progress))
        await rollback.signal("abandon", {"actor": "ana"})
        result = await handle.result()
    assert result.unverified == STUBBORN


@pytest.mark.parametrize(
    "rule", [RULE, RollbackRule(rounds=2, pause=5, ask_for=0)], ids=["asks", "does-not-ask"]
)
@pytest.mark.finding("12")
async def test_without_a_word_from_anybody_it_ends_as_not_verified(stage, rule):
    world = world_of(Stubborn(), rule)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.unverified) == (Phase.ROLLED_BACK_UNVERIFIED, STUBBORN)
    alarms = [entry for entry in world.progress if entry.event is EventKind.ROLLBACK_STUCK]
    assert len(alarms) == (1 if rule.ask_for else 0)
