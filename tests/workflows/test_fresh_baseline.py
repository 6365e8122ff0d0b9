"""A fresh baseline under way: restarted in its turn, left out where that fails, held in a freeze."""

from domain.analysis import Outcome
from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.policy import EnvironmentPolicy
from domain.strategy import Canary
from tests.workflows.test_deployment import refusing
from tests.workflows.test_freezes import ad_hoc
from tests.workflows.world import ANALYSIS, World

FRESH = EnvironmentPolicy(analysis=ANALYSIS.model_copy(update={"against": "fresh"}))


def renewed(world: World) -> list[tuple[str, ...]]:
    return [order.nodes for action, order in world.orders if action == "renew"]


async def test_each_wave_is_judged_against_as_many_nodes_that_were_restarted(stage):
    world = World(policy=FRESH)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert [len(nodes) for nodes in renewed(world)] == [1, 2, 2]
    groups = {look.analysis.wave: look.analysis for look in world.looks}
    for number, analysis in groups.items():
        assert len(analysis.baseline) == len(analysis.canary)
        assert analysis.baseline == world.plan.fresh_baseline(number)
        assert analysis.renewed is not None
    # Later waves allow for the time since the first restart, the waves before them included.
    assert groups[1].renewed < ANALYSIS.duration < groups[2].renewed < groups[3].renewed


async def test_pairs_are_what_the_plan_names_less_what_is_lost(stage):
    paired = EnvironmentPolicy(analysis=ANALYSIS.model_copy(update={"against": "paired"}))
    world = World(policy=paired, strategy=Canary(shares=(30, 100), bake=0))
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    [asked] = [step.nodes for step in world.plan.steps if step.kind == "analyze"]
    assert {look.analysis.baseline for look in world.looks} == {asked}
    assert (len(asked), renewed(world)) == (3, [])


async def test_a_node_that_does_not_restart_is_no_baseline_and_no_fault_of_the_release(stage):
    first = World(policy=FRESH)
    async with stage(first) as scene:
        await (await scene.deploy()).result()
    bad = renewed(first)[1][0]
    world = World(policy=FRESH, refuses=refusing(bad, "renew", "activate"))
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert result.quarantined == (bad,)
    assert all(bad not in look.analysis.baseline for look in world.looks)
    told = [entry.message for entry in world.progress if entry.event is EventKind.NODES_FAILED]
    assert f"renewing failed, not in the baseline: {bad}: will not" in told


async def test_a_bad_release_is_taken_back_without_touching_the_baseline(stage):
    world = World(policy=FRESH, verdict=lambda look: Outcome.FAIL)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert len(world.touched) == 1
    assert not set(renewed(world)[0]) & set(world.touched)


async def test_where_no_node_restarts_the_judge_gets_an_empty_group(stage):
    world = World(
        policy=FRESH,
        strategy=Canary(shares=(50, 100), bake=0),
        refuses=lambda action, _node: "will not" if action == "renew" else None,
    )
    async with stage(world) as scene:
        await (await scene.deploy()).result()
    assert {look.analysis.baseline for look in world.looks} == {()}


async def test_a_freeze_holds_the_restart(stage):
    world = World(policy=FRESH, strategy=Canary(shares=(50, 100), bake=0))

    def freezing(action: str, _node: str) -> None:
        if action == "verify" and not renewed(world) and not world.frozen_now:
            world.frozen_now["incident"] = ad_hoc("an incident", until)

    world.refuses = freezing
    async with stage(world) as scene:
        until = (await scene.env.get_current_time()).timestamp() + 3600
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert Phase.FROZEN in world.phases
    assert len(renewed(world)) == 2  # held untouched once, then done
    assert len(world.looks[0].analysis.baseline) == 5
