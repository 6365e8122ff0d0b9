"""Amending a rollout under way: narrowing holds at once, widening asks people while the rollout goes on."""

import secrets
from collections import Counter

import pytest

from domain.amendment import AmendmentState
from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.gate import GateResult
from domain.names import amendment_gate_id, approval_id, deployment_workflow_id
from domain.policy import Deadlines, EnvironmentPolicy, FailureBudget, GateRule
from domain.strategy import BlueGreen, Rolling
from domain.vote import Refusal
from tests.workflows.world import ANALYSIS, World

HOUR = 3600
APPLIED, REJECTED, LAPSED, WAITING = (
    AmendmentState.APPLIED,
    AmendmentState.REJECTED,
    AmendmentState.LAPSED,
    AmendmentState.WAITING,
)


def rolling(**policy) -> World:
    """Three waves of three nodes, each of which bakes for an hour."""
    return World(
        nodes=9,
        policy=EnvironmentPolicy(deadlines=Deadlines(deployment=24 * HOUR), **policy),
        strategy=Rolling(batch=3, max_unavailable=3, bake=HOUR),
    )


async def baking(scene, name: str):
    """A rollout whose first wave bakes."""
    handle = await scene.deploy(name)
    await scene.until(lambda: Phase.BAKING in scene.world.phases, skipping=False)
    return handle


async def amend(scene, name: str, *, person: str = "bob", token: str | None = "", **changes) -> None:
    signed = f"{person}:{name}:amend:{secrets.token_hex(4)}" if token == "" else token
    body = {"actor": person, "reason": "slower", "changes": changes, "token": signed}
    await scene.client.get_workflow_handle(deployment_workflow_id(name)).signal("amend", body)


async def vote(scene, gate: str, decision: str = "approve", person: str = "carl", plan: str | None = None):
    def polled():
        return [each for each in scene.world.polls if each.request.gate == gate]

    await scene.until(polled, skipping=False)
    plan = plan or polled()[-1].poll.plan
    token = f"{person}:approver:{gate}:{plan}:{decision}:{person}-{plan[:8]}"
    await scene.client.get_workflow_handle(gate).signal(decision, {"approver": person, "token": token})


def states(world: World) -> list[tuple[int, AmendmentState]]:
    return [(each.number, each.state) for each in world.amendments]


def bakes(world: World) -> list[str]:
    return [entry.message for entry in world.progress if entry.phase is Phase.BAKING]


def activated(world: World) -> list[int]:
    """How many nodes each wave activated."""
    counts = Counter(
        order.wave for action, order in world.orders if action == "activate" for _ in order.nodes
    )
    return [counts[wave] for wave in sorted(counts)]


async def test_a_narrower_plan_holds_from_the_next_step_on_without_a_vote(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-narrow")
        await amend(scene, "a-narrow", wave_nodes=2, bake=2 * HOUR)
        await scene.until(lambda: scene.world.amendments, skipping=False)
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert states(scene.world) == [(1, APPLIED)]
    assert scene.world.amendments[0].widens == ()
    assert activated(scene.world) == [3, 1, 2, 1, 2]
    assert bakes(scene.world)[:2] == ["wave 1 bakes 3600 s", "wave 2 bakes 7200 s"]
    assert scene.world.polls == []


async def test_a_stricter_budget_is_for_what_fails_from_then_on(stage):
    """A node that was lost within the budget of its time keeps no other from being switched."""
    lost, name = "node-01", "a-strict"
    world = rolling(
        gates=(GateRule(name="promotion"),), failures=FailureBudget(share=0.5, minimum_executed=1)
    )
    world.strategy = BlueGreen(watch=5, keep=5)
    world.refuses = lambda action, node: "will not" if (action, node) == ("smoke", lost) else None
    async with stage(world) as scene:
        handle = await scene.deploy(name)
        await scene.until(lambda: Phase.WAITING_APPROVAL in world.phases, skipping=False)
        await amend(scene, name, failures={"share": 0})
        await scene.until(lambda: world.amendments, skipping=False)
        amended = world.amendments[0].plan.digest
        await scene.until(lambda: world.polls[-1].poll.plan == amended, skipping=False)
        await vote(scene, approval_id(name, "promotion"))
        result = await handle.result()
    assert (result.phase, states(world)) == (Phase.COMPLETED, [(1, APPLIED)])
    switched = {node for action, order in world.orders if action == "switch" for node in order.nodes}
    assert switched == {*world.running} - {lost}


@pytest.mark.parametrize(("decision", "state", "bake"), [("approve", APPLIED, 5), ("reject", REJECTED, HOUR)])
async def test_a_wider_plan_waits_for_people_while_the_old_one_goes_on(stage, decision, state, bake):
    name = f"a-wide-{decision}"
    async with stage(rolling()) as scene:
        handle = await baking(scene, name)
        await amend(scene, name, bake=5)
        gate = amendment_gate_id(name, 1)
        await vote(scene, gate, decision, person="bob")
        if decision == "approve":  # of his own amendment
            await scene.until(lambda: scene.world.polls[-1].poll.refused, skipping=False)
            assert scene.world.polls[-1].poll.refused[0].reason is Refusal.REQUESTER
            assert states(scene.world) == [(1, WAITING)]
            await vote(scene, gate, decision)
        await scene.until(lambda: len(scene.world.amendments) == 2, skipping=False)
        assert len(bakes(scene.world)) == 1
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert states(scene.world) == [(1, WAITING), (1, state)]
    assert bakes(scene.world) == ["wave 1 bakes 3600 s", *(f"wave {n} bakes {bake} s" for n in (2, 3))]
    assert scene.world.polls[0].poll.plan == scene.world.amendments[0].plan.digest


async def test_an_amendment_that_nobody_decides_lapses_when_the_rollout_comes_to_it(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-lapse")
        await amend(scene, "a-lapse", bake=5)
        await scene.until(lambda: scene.world.amendments, skipping=False)
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert states(scene.world) == [(1, WAITING), (1, LAPSED)]
    assert bakes(scene.world) == [f"wave {n} bakes 3600 s" for n in (1, 2, 3)]
    assert scene.world.polls[-1].result is None


async def test_a_later_amendment_takes_the_place_of_one_that_waits(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-later")
        await amend(scene, "a-later", bake=5)
        await scene.until(lambda: scene.world.polls, skipping=False)
        await amend(scene, "a-later", wave_nodes=1)
        await scene.until(lambda: len(scene.world.amendments) == 3, skipping=False)
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert states(scene.world) == [(1, WAITING), (1, LAPSED), (2, APPLIED)]
    assert bakes(scene.world)[-1] == "wave 7 bakes 3600 s"


async def test_an_open_gate_goes_back_to_waiting_for_votes_on_the_new_plan(stage):
    world = World(
        policy=EnvironmentPolicy(gates=(GateRule(name="promotion", required=2),), analysis=ANALYSIS)
    )
    gate = approval_id("a-gate", "promotion")
    async with stage(world) as scene:
        handle = await scene.deploy("a-gate")
        await scene.until(lambda: scene.world.polls)
        old = world.polls[-1].poll.plan
        await vote(scene, gate, person="carl")
        await scene.until(lambda: world.polls[-1].poll.votes)
        await amend(scene, "a-gate", wave_nodes=1)
        await scene.until(lambda: world.polls[-1].poll.plan != old)
        poll = world.polls[-1].poll
        assert ([vote.voter for vote in poll.voided], poll.votes) == (["carl"], ())
        assert poll.plan == world.amendments[-1].plan.digest
        await vote(scene, gate, person="dan", plan=old)  # a vote for the plan before it
        await vote(scene, gate, person="bob")  # who amended it
        await scene.until(lambda: len(world.polls[-1].poll.refused) == 2)
        refusals = [each.reason for each in world.polls[-1].poll.refused]
        assert refusals == [Refusal.STALE_PLAN, Refusal.REQUESTER]
        await vote(scene, gate, person="carl")
        await vote(scene, gate, person="dan")
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert world.polls[-1].result is GateResult.APPROVED
    assert activated(world) == [1] * 10


async def test_a_gate_that_is_added_holds_and_bars_whoever_amended(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-added")
        await amend(scene, "a-added", gates=[{"name": "second", "before_wave": 3}])
        await scene.until(lambda: scene.world.polls)
        assert activated(scene.world) == [3, 3]
        gate = approval_id("a-added", "second")
        await vote(scene, gate, person="bob")
        await scene.until(lambda: scene.world.polls[-1].poll.refused)
        await vote(scene, gate, "reject")
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.REJECTED)


async def test_limits_hold_from_the_next_step_on(stage):
    """Fewer failures and less time: the amended budget turns the next wave back."""
    world = rolling(failures=FailureBudget(share=0.5, minimum_executed=1))
    world.refuses = lambda action, node: "broken" if (action, node) == ("activate", "node-05") else None
    async with stage(world) as scene:
        handle = await baking(scene, "a-limits")
        await amend(scene, "a-limits", failures={"share": 0.0, "minimum_executed": 10}, deadline=3 * HOUR)
        await scene.until(lambda: world.amendments, skipping=False)
        result = await handle.result()
    assert states(world) == [(1, APPLIED)]
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.NODE_FAILURES)


async def test_a_shorter_deadline_rings_sooner(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-deadline")
        await amend(scene, "a-deadline", deadline=2 * HOUR + 60)
        await scene.until(lambda: scene.world.amendments, skipping=False)
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.DEADLINE)


async def test_what_does_not_count_is_told_and_changes_nothing(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-refused")
        await amend(scene, "a-refused", token=None, wave_nodes=1)
        await amend(scene, "a-refused", bake=HOUR)
        await amend(scene, "a-refused", magic=1)
        await scene.client.get_workflow_handle(handle.id).signal("amend", {"token": "bob:a-refused:amend:x"})

        def refused() -> list[str]:
            entries = [each for each in scene.world.progress if each.event is EventKind.SIGNAL_REFUSED]
            return [each.message for each in entries]

        await scene.until(lambda: len(refused()) == 4, skipping=False)
        await scene.client.get_workflow_handle(handle.id).signal("abort", {"actor": "ana"})
        result = await handle.result()
    assert "an unsigned amend may not advance this environment" in refused()[0]
    assert "nothing that is still to come would change" in refused()[1]
    assert "not an order of the form" in refused()[2]
    assert "it says no changes" in refused()[3]
    assert result.phase is Phase.ROLLED_BACK_VERIFIED
    assert scene.world.amendments == []


async def test_a_rollout_that_turns_back_asks_no_more_about_its_amendment(stage):
    async with stage(rolling()) as scene:
        handle = await baking(scene, "a-abort")
        await amend(scene, "a-abort", bake=5)
        await scene.until(lambda: scene.world.polls, skipping=False)
        await scene.client.get_workflow_handle(handle.id).signal("abort", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.ROLLED_BACK_VERIFIED
    assert states(scene.world) == [(1, WAITING), (1, LAPSED)]
