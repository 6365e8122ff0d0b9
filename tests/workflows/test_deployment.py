"""The rollout's story: forward, held, and back."""

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from domain.analysis import Doubt, Outcome
from domain.deployment import CauseKind, Phase
from domain.events import EventKind
from domain.freeze_orders import AdHocFreeze
from domain.gate import Decision
from domain.names import approval_id
from domain.policy import AnalysisRule, Deadlines, EnvironmentPolicy, GateRule
from domain.strategy import Custom, Direct
from tests.workflows.world import ANALYSIS, World

NO_GATE = EnvironmentPolicy(analysis=ANALYSIS)
EARLY_GATE = EnvironmentPolicy(gates=(GateRule(name="promotion", before_wave=1),), analysis=ANALYSIS)


def refusing(wanted: str, *actions: str) -> Callable[[str, str], str | None]:
    return lambda action, node: "will not" if node == wanted and action in actions else None


async def vote(scene, name: str, decision: str = "approve", person: str = "bob", **body: object) -> None:
    gate = approval_id(name, "promotion")
    await scene.until(lambda: scene.world.polls)
    plan = scene.world.polls[-1].poll.plan
    token = f"{person}:approver:{gate}:{plan}:{decision}:{person}-{decision}"
    ballot = {"approver": person, "token": token, **body}
    await scene.client.get_workflow_handle(gate).signal(decision, ballot)


async def test_a_canary_with_an_approval_reaches_every_node(stage):
    async with stage(World()) as scene:
        handle = await scene.deploy("d-good")
        await vote(scene, "d-good")
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert set(scene.world.running.values()) == {"2.0.0"}
    assert Phase.WAITING_APPROVAL in scene.world.phases
    assert scene.world.phases[-2:] == [Phase.VERIFYING, Phase.COMPLETED]


async def test_direct_changes_all_nodes_in_one_wave_behind_the_policys_gate(stage):
    async with stage(World(strategy=Direct())) as scene:
        handle = await scene.deploy("d-direct")
        await scene.until(lambda: scene.world.polls)
        assert scene.world.orders == []
        await vote(scene, "d-direct")
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    assert len(scene.world.touched) == 10
    assert scene.world.looks == []


async def test_a_failing_analysis_turns_back_the_first_wave_only(stage):
    async with stage(World(verdict=lambda look: Outcome.FAIL)) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert len(scene.world.touched) == 1
    assert set(scene.world.running.values()) == {"1.0.0"}
    assert len(scene.world.looks) == 1


@pytest.mark.finding("10")
async def test_an_inconclusive_analysis_extends_then_holds_and_a_person_promotes(stage):
    rule = AnalysisRule(duration=60, interval=10, warm_up=10, extensions=1)
    world = World(
        policy=EnvironmentPolicy(analysis=rule, unsigned_votes=True),
        verdict=lambda look: Outcome.INCONCLUSIVE if look.analysis.wave == 1 else Outcome.PASS,
    )
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in world.phases)
        assert max(look.seconds for look in world.looks) >= 120
        await handle.signal("promote", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


@pytest.mark.finding("10")
async def test_an_inconclusive_analysis_rolls_back_where_the_policy_says_so(stage):
    rule = ANALYSIS.model_copy(update={"on_inconclusive": "rollback"})
    world = World(policy=EnvironmentPolicy(analysis=rule), verdict=lambda look: Outcome.INCONCLUSIVE)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.INCONCLUSIVE)


def outage(last: int, outage: float = 900, then: Outcome = Outcome.PASS) -> World:
    """A provider that does not answer in the first `last` looks of the first wave."""
    rule = AnalysisRule(
        duration=60, interval=10, warm_up=10, extensions=1, on_inconclusive="rollback", outage=outage
    )

    def verdict(look):
        down = look.analysis.wave == 1 and look.number <= last
        return Outcome.INCONCLUSIVE if down else then

    return World(
        policy=EnvironmentPolicy(analysis=rule, unsigned_votes=True),
        verdict=verdict,
        doubt=lambda look: Doubt.PROVIDER_DOWN if look.number <= last else Doubt.UNDERPOWERED,
    )


async def test_an_outage_is_outlasted_and_then_takes_another_duration(stage):
    world = outage(last=40)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.COMPLETED
    assert Phase.HOLDING not in world.phases
    # 40 looks without an answer, the one that finds it back, and a minute of six.
    assert max(look.number for look in world.looks if look.analysis.wave == 1) == 47


async def test_what_is_found_after_an_outage_counts_as_ever(stage):
    world = outage(last=40, then=Outcome.FAIL)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert len(world.looks) == 41


async def test_an_outage_beyond_its_budget_asks_a_person_and_never_rolls_back(stage):
    world = outage(last=1000)
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in world.phases)
        assert len(world.looks) == 12 + 90
        await handle.signal("promote", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


@pytest.mark.parametrize("failing", ["activate", "verify"])
async def test_a_node_that_fails_turns_the_rollout_back_and_is_named(stage, failing):
    bad = "node-05"
    world = World(policy=NO_GATE, refuses=refusing(bad, failing))
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.NODE_FAILURES)
    assert bad in result.cause.message
    assert set(world.running.values()) == {"1.0.0"}


async def test_a_failure_before_anything_moved_ends_without_a_rollback(stage):
    world = World(policy=NO_GATE, refuses=lambda action, node: "disk full" if action == "stage" else None)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.FAILED
    assert world.touched == []


async def test_an_empty_environment_fails_with_the_planners_reason(stage):
    async with stage(World(nodes=0)) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.FAILED, CauseKind.PLAN)
    assert "no nodes" in result.cause.message


async def test_nodes_that_do_not_come_back_are_named_after_bounded_rounds(stage):
    stubborn = "node-01"
    world = World(
        policy=NO_GATE,
        verdict=lambda look: Outcome.FAIL if look.analysis.wave == 3 else Outcome.PASS,
        refuses=refusing(stubborn, "verify_reverted"),
    )
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.ROLLED_BACK_UNVERIFIED
    assert result.unverified == (stubborn,)
    failures = [entry for entry in world.progress if entry.event is EventKind.NODES_FAILED]
    assert len(failures) == 3


async def test_a_rejection_after_the_first_wave_takes_it_back(stage):
    async with stage(World()) as scene:
        handle = await scene.deploy("d-no")
        await vote(scene, "d-no", Decision.REJECT)
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.REJECTED)
    assert result.cause.actor == "bob"


async def test_a_rejection_before_anything_moved_is_just_rejected(stage):
    async with stage(World(policy=EARLY_GATE)) as scene:
        handle = await scene.deploy("d-early")
        await vote(scene, "d-early", Decision.REJECT)
        result = await handle.result()
    assert result.phase is Phase.REJECTED
    assert scene.world.touched == []


async def test_an_expired_gate_rejects(stage):
    async with stage(World()) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.EXPIRED)


async def test_a_vote_sent_to_the_deployment_reaches_its_gate(stage):
    async with stage(World()) as scene:
        handle = await scene.deploy("d-page")
        await scene.until(lambda: scene.world.polls)
        poll = scene.world.polls[-1].poll
        token = f"bob:approver:{poll.gate}:{poll.plan}:approve:1"
        await handle.signal("approve", {"approver": "bob", "token": token})
        assert (await handle.result()).phase is Phase.COMPLETED


async def test_abort_in_the_middle_of_a_wave_takes_back_what_was_changed(stage):
    world = World(policy=NO_GATE, blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: world.starts)
        await handle.signal("abort", {"actor": "ana", "reason": "wrong build"})
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ABORTED)
    assert "wrong build" in result.cause.message


async def test_cancelling_from_the_console_rolls_back_too(stage):
    world = World(policy=NO_GATE, blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: world.starts)
        await handle.cancel()
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ABORTED)


async def test_a_pause_holds_at_the_next_safe_point_until_resumed_with_a_token(stage):
    world = World(policy=NO_GATE, blocked=asyncio.Event())
    async with stage(world) as scene:
        handle = await scene.deploy("d-pause")
        await scene.until(lambda: world.starts)
        await handle.signal("pause", {"actor": "ana"})
        await scene.until(lambda: any(entry.event is EventKind.COMMAND for entry in world.progress))
        world.blocked.set()
        await scene.until(lambda: Phase.PAUSED in world.phases)
        await handle.signal("resume", {"actor": "mallory"})
        await scene.until(lambda: any(entry.event is EventKind.SIGNAL_REFUSED for entry in world.progress))
        assert world.phases[-1] is Phase.PAUSED
        await handle.signal("resume", {"token": "ana:d-pause:resume:1"})
        assert (await handle.result()).phase is Phase.COMPLETED


HANDS = 4


@pytest.fixture
def few_at_once(monkeypatch) -> World:
    """Of ten nodes four are started at once; the rollout's own time is short."""
    monkeypatch.setattr("workflows.fleet.BATCHES_AT_ONCE", HANDS)
    policy = EnvironmentPolicy(
        analysis=ANALYSIS, deadlines=Deadlines(node=10, wave=60, deployment=600), unsigned_votes=True
    )
    return World(strategy=Direct(), policy=policy, blocked=asyncio.Event())


async def paused_amid_a_wave(scene) -> WorkflowHandle:
    handle = await scene.deploy()
    await scene.until(lambda: len(scene.world.starts) == HANDS, skipping=False)
    await handle.signal("pause", {"actor": "ana", "reason": "it smells"})
    await scene.until(lambda: commands(scene.world), skipping=False)
    return handle


async def test_a_pause_amid_a_wave_is_shown_and_its_time_is_peoples(stage, few_at_once):
    world = few_at_once
    async with stage(world) as scene:
        handle = await paused_amid_a_wave(scene)
        world.blocked.set()
        await scene.until(lambda: Phase.PAUSED in world.phases, skipping=False)
        await scene.env.sleep(7200)
        assert len(world.touched) == HANDS
        assert "it smells" in world.progress[-1].message
        await handle.signal("resume", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED
    shown = [Phase.ACTIVATING, Phase.PAUSED, Phase.ACTIVATING, Phase.VERIFYING, Phase.COMPLETED]
    assert world.phases[-5:] == shown


async def test_a_pause_outlasts_a_freeze_amid_a_wave(stage, few_at_once):
    world = few_at_once
    async with stage(world) as scene:
        handle = await paused_amid_a_wave(scene)
        freeze = AdHocFreeze(tenant="acme", environment="production", key="k", actor="abel", reason="storm")
        world.frozen_now["k"] = freeze
        world.blocked.set()
        await scene.until(lambda: Phase.PAUSED in world.phases, skipping=False)
        await handle.signal("resume", {"actor": "ana"})
        await scene.until(lambda: Phase.FROZEN in world.phases, skipping=False)
        await handle.signal("pause", {"actor": "ana"})
        await scene.until(lambda: commands(world) == 3, skipping=False)
        assert world.phases[-1] is Phase.FROZEN
        world.frozen_now.clear()
        await handle.signal("thaw")
        await scene.until(lambda: world.phases[-1] is Phase.PAUSED, skipping=False)
        assert len(world.touched) == HANDS
        await handle.signal("resume", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


async def test_a_pause_in_the_last_step_holds_too(stage, few_at_once):
    world = few_at_once
    world.refuses = lambda action, _node: world.starts.append(action) if action == "verify" else None
    async with stage(world) as scene:
        handle = await scene.deploy()
        world.blocked.set()
        await scene.until(lambda: "verify" in world.starts, skipping=False)
        await handle.signal("pause", {"actor": "ana"})
        await scene.until(lambda: Phase.PAUSED in world.phases or world.phases[-1].terminal, skipping=False)
        assert Phase.PAUSED in world.phases
        await handle.signal("resume", {"actor": "ana"})
        assert (await handle.result()).phase is Phase.COMPLETED


async def test_the_deployments_deadline_turns_it_back(stage):
    policy = EnvironmentPolicy(
        analysis=AnalysisRule(duration=60, interval=30, warm_up=0, extensions=50),
        deadlines=Deadlines(node=10, wave=60, deployment=600),
    )
    async with stage(World(policy=policy, verdict=lambda _look: Outcome.INCONCLUSIVE)) as scene:
        result = await (await scene.deploy()).result()
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.DEADLINE)


async def test_every_workflow_task_survives_a_replay_from_the_start(stage):
    async with stage(World(), max_cached_workflows=0) as scene:
        handle = await scene.deploy("d-replay")
        await vote(scene, "d-replay")
        assert (await handle.result()).phase is Phase.COMPLETED


async def test_the_status_query_and_the_details_tell_where_it_stands(stage):
    async with stage(World()) as scene:
        handle = await scene.deploy("d-status")
        await scene.until(lambda: scene.world.polls)
        view = await handle.query("status")
        assert view["phase"] == Phase.WAITING_APPROVAL
        assert view["waiting_for"] == "1 × approver"
        await handle.signal("abort", {})
        assert (await handle.result()).phase is Phase.ROLLED_BACK_VERIFIED


async def test_a_gate_that_is_terminated_from_the_console_stops_the_rollout(real_stage):
    async with real_stage(World(policy=EARLY_GATE)) as scene:
        handle = await scene.deploy("d-gate-gone")
        await scene.until(lambda: scene.world.polls)
        try:
            await scene.client.get_workflow_handle(approval_id("d-gate-gone", "promotion")).terminate("oops")
        except RPCError as error:
            pytest.fail(f"terminate was refused: {error}")
        result = await handle.result()
    assert (result.phase, result.cause.kind) == (Phase.FAILED, CauseKind.TERMINATED)


async def test_a_deployment_withdrawn_while_it_started_ends_quietly(stage):
    world = World(withdrawn=True)
    async with stage(world) as scene:
        result = await (await scene.deploy()).result()
    assert result.phase is Phase.ABORTED
    assert world.progress == []


@pytest.mark.parametrize("command", [None, "promote"], ids=["its-time-is-over", "promoted"])
async def test_the_end_of_a_plans_pause_ends_no_persons_pause(stage, command):
    """Found by tests/workflows/test_model.py: the rollout went on although somebody had paused it."""
    steps = [{"step": step, "wave": wave} for wave in (1, 2) for step in ("stage", "activate", "verify")]
    steps.insert(3, {"step": "pause", "seconds": 60})
    custom = Custom.model_validate({"kind": "custom", "waves": [1, "rest"], "steps": steps})
    world = World(strategy=custom, policy=EnvironmentPolicy(analysis=ANALYSIS, unsigned_votes=True))
    async with stage(world) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.PAUSED in world.phases, skipping=False)
        await handle.signal("pause", {"actor": "ana"})
        await scene.until(lambda: commands(world) == 1, skipping=False)
        if command is not None:
            await handle.signal(command, {"actor": "ana"})
        await scene.env.sleep(600)
        assert len(world.touched) == 1
        assert "pause by ana" in world.progress[-1].message
        await handle.signal("resume", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


def commands(world: World) -> int:
    return sum(entry.event is EventKind.COMMAND for entry in world.progress)
