"""Condition checks alone in skipped time; beside looks and waves on a real server.

The time-skipping server loses a workflow task now and then when two activities of one workflow end at once.
"""

import asyncio
import uuid

from temporalio.client import WorkflowHandle

from domain.analysis import Doubt, Outcome, Verdict
from domain.conditions.measurement import Measurement
from domain.conditions.metric import ConditionMetric, MetricPhase
from domain.deployment import CauseKind, Phase
from domain.measuring import Measured, MeasureOrder
from domain.names import CONTROL_QUEUE
from domain.policy import AnalysisRule, BackgroundRule, EnvironmentPolicy
from domain.providers import ConditionCheck, WebProvider
from domain.strategy import Canary, Direct
from tests.workflows.world import World, analysis_of
from workflows.analysis import CanaryAnalysisWorkflow

PAGE = "__temporal_workflow_metadata"
WEB = WebProvider(url="http://127.0.0.1:1/")


def check(name: str = "rate", *, outages: int = 30, **fields: object) -> ConditionCheck:
    metric = ConditionMetric(name=name, success_condition="result > 0", **fields)
    return ConditionCheck(metric=metric, provider=WEB, outages=outages)


QUICK = AnalysisRule(duration=0.6, interval=0.2, warm_up=0.1)
TWO_WAVES = Canary(shares=(50, 100), bake=0.1)


def said(phase: str, *, after: int = 0, then: str = "failed"):
    """The phase for the first `after` measurements (for ever with 0), then the other."""
    seen: list[int] = []

    def answer(order: MeasureOrder) -> Measured:
        seen.append(order.number)
        now = phase if not after or len(seen) <= after else then
        if now == "outage":
            return Measured(outage="nobody there")
        return Measured(measurement=Measurement(phase=MetricPhase(now), value="1", finished=0.0))

    return answer


async def measured_alone(
    stage, answer, *checks: ConditionCheck, background: bool = True, **rule: object
) -> tuple[Verdict, int]:
    """The last word of checks that end by themselves, and how many measurements that took."""
    world = World(measured=answer)
    name = f"analysis-{uuid.uuid4().hex[:8]}-background"
    rules = AnalysisRule(conditions=checks, **rule)
    request = analysis_of(name, rules, baseline=(), background=background)
    async with stage(world) as scene:
        result = await scene.client.execute_workflow(
            CanaryAnalysisWorkflow.run, request, id=name, task_queue=CONTROL_QUEUE
        )
    assert [each.verdict for each in world.conclusions] == [result.verdict]
    return result.verdict, len(world.measurements)


async def test_checks_end_when_their_counts_are_reached(stage):
    verdict, measurements = await measured_alone(
        stage, said("successful"), check(interval=3600, count=3, initial_delay=60), check("once")
    )
    assert (verdict.outcome, measurements) == (Outcome.PASS, 4)
    assert [(each.metric, each.outcome) for each in verdict.metrics] == [("rate", "pass"), ("once", "pass")]


async def test_a_failure_beyond_the_limit_ends_all_checks(stage):
    answer = said("successful", after=2)
    verdict, measurements = await measured_alone(stage, answer, check(interval=60), check("b", interval=3600))
    assert (verdict.outcome, measurements) == (Outcome.FAIL, 3)


async def test_a_provider_that_is_down_has_a_budget_and_is_no_failure(stage):
    verdict, measurements = await measured_alone(stage, said("outage"), check(interval=10, outages=2))
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN)
    assert "nobody there" in verdict.reason
    assert measurements == 3


async def test_a_provider_that_comes_back_in_time_costs_nothing(stage):
    answer, before = said("outage", after=3, then="successful"), []

    def measured(order: MeasureOrder) -> Measured:
        before.append(order.outages)
        return answer(order)

    verdict, measurements = await measured_alone(stage, measured, check(interval=10, count=1))
    assert (verdict.outcome, measurements) == (Outcome.PASS, 4)
    assert before == [0, 1, 2, 3]


async def test_five_errors_in_a_row_are_inconclusive(stage):
    verdict, measurements = await measured_alone(stage, said("error"), check(interval=600))
    assert (verdict.outcome, verdict.doubt, measurements) == (Outcome.INCONCLUSIVE, Doubt.ERROR, 5)


def world(*checks: ConditionCheck, measured, **fields: object) -> World:
    rule = AnalysisRule.model_validate(QUICK.model_dump() | {"conditions": checks} | fields)
    policy = EnvironmentPolicy(analysis=rule, unsigned_votes=True)
    return World(nodes=2, policy=policy, strategy=TWO_WAVES, measured=measured)


async def deployed(stage, scene_world: World):
    async with stage(scene_world) as scene:
        return await (await scene.deploy()).result()


async def test_a_clear_pass_ends_early_but_waits_for_a_check_with_measurements_to_take(real_stage):
    one = world(check(interval=0.3, count=3), measured=said("successful"), early_pass=True)
    result = await deployed(real_stage, one)
    assert result.phase is Phase.COMPLETED
    assert (len(one.looks), len(one.measurements)) == (1, 3)
    verdict = one.conclusions[0].verdict
    assert (verdict.outcome, [each.metric for each in verdict.metrics]) == (Outcome.PASS, ["rate"])


async def test_a_check_that_fails_ends_the_analysis_although_the_judge_passes(real_stage):
    one = world(check(interval=0.1), measured=said("successful", after=1), duration=30)
    result = await deployed(real_stage, one)
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert "rate" in result.cause.message


async def test_checks_decide_alone_where_no_metric_is_compared(stage):
    rule = {"metrics": (), "duration": 600, "warm_up": 5}
    verdict, measurements = await measured_alone(
        stage, said("successful"), check(interval=60), check("once"), background=False, **rule
    )
    assert (verdict.outcome, verdict.judge) == (Outcome.PASS, "conditions")
    assert [(each.metric, each.outcome) for each in verdict.metrics] == [("rate", "pass"), ("once", "pass")]
    assert measurements in {11, 12}  # one of them for the whole duration


async def test_a_check_that_is_held_when_the_time_is_up_is_waited_for(stage):
    rule = {"metrics": (), "duration": 60, "interval": 10}
    answer = said("outage", after=20, then="successful")
    verdict, measurements = await measured_alone(stage, answer, check(interval=10), background=False, **rule)
    assert (verdict.outcome, measurements) == (Outcome.PASS, 21)


async def test_a_check_that_fails_alone_turns_the_rollout_back_at_once(real_stage):
    one = world(check(interval=0.1), measured=said("successful", after=1), metrics=(), duration=600)
    result = await deployed(real_stage, one)
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert len(one.measurements) == 2


async def test_the_judge_fails_although_the_checks_succeed(real_stage):
    one = world(check(interval=0.1), measured=said("successful"))
    one.verdict = lambda _look: Outcome.FAIL
    result = await deployed(real_stage, one)
    assert result.cause.kind is CauseKind.ANALYSIS
    assert [each.verdict.outcome for each in one.conclusions] == [Outcome.FAIL]


async def test_a_provider_that_is_down_holds_where_doubt_would_turn_back(real_stage):
    one = world(check(interval=0.1, outages=0), measured=said("outage"), on_inconclusive="rollback")
    async with real_stage(one) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.HOLDING in one.phases, skipping=False)
        await handle.signal("abort", {"actor": "ana"})
        result = await handle.result()
    assert result.cause.kind is CauseKind.ABORTED


async def test_the_page_of_an_analysis_says_which_provider_does_not_answer(real_stage):
    one = world(check(), measured=said("outage"))
    async with real_stage(one) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: one.measurements, skipping=False)
        analysis = scene.client.get_workflow_handle(one.measurements[0].analysis.analysis)

        async with asyncio.timeout(10):
            while "web does not answer: nobody there" not in str(await analysis.query(PAGE)):
                await asyncio.sleep(0.02)
        await handle.signal("abort", {"actor": "ana"})
        await handle.result()


def watched(measured, *, judged: dict[str, object] | None = None, **fields: object) -> World:
    """The checks of a policy's background analysis; `judged` is what differs in that of the waves."""
    background = BackgroundRule(conditions=(check("beside", interval=0.2),), **fields)
    analysis = QUICK.model_copy(update=judged or {})
    policy = EnvironmentPolicy(analysis=analysis, background=background, unsigned_votes=True)
    return World(nodes=2, policy=policy, strategy=TWO_WAVES, measured=measured)


async def test_background_analysis_goes_on_to_the_end_and_concludes(real_stage):
    one = watched(said("successful"))
    result = await deployed(real_stage, one)
    assert result.phase is Phase.COMPLETED
    assert len(one.measurements) > 3
    assert all(each.analysis.background for each in one.measurements)
    assert [each.verdict.outcome for each in one.conclusions] == [Outcome.PASS]
    assert not one.looks[0].analysis.background


async def test_background_analysis_turns_the_rollout_back_while_a_wave_is_judged(real_stage):
    one = watched(said("successful", after=1))
    one.verdict = lambda _look: Outcome.INCONCLUSIVE
    result = await deployed(real_stage, one)
    assert (result.phase, result.cause.kind) == (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS)
    assert result.cause.message.startswith("background analysis: beside")


async def test_background_analysis_begins_with_the_wave_that_the_policy_names(real_stage):
    one = watched(said("failed"), from_wave=2)
    result = await deployed(real_stage, one)
    assert result.cause.kind is CauseKind.ANALYSIS
    assert {look.analysis.wave for look in one.looks} == {1}


async def test_doubt_in_the_background_pauses_until_a_person_resumes(real_stage):
    one = watched(said("inconclusive"), judged={"extensions": 100})
    one.verdict = lambda _look: Outcome.PASS if one.conclusions else Outcome.INCONCLUSIVE
    async with real_stage(one) as scene:
        handle = await scene.deploy()
        await scene.until(lambda: Phase.PAUSED in one.phases, skipping=False)
        await handle.signal("resume", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


async def test_doubt_in_the_background_in_the_last_step_pauses_too(real_stage):
    answers = {True: said("inconclusive"), False: said("successful")}
    one = watched(lambda order: answers[Phase.BAKING in one.phases](order))
    one.strategy = Canary(shares=(100,), bake=600)
    async with real_stage(one) as scene:
        handle = await scene.deploy()
        async with asyncio.timeout(30):
            while not await knows_the_end_of_a_child(handle):
                await asyncio.sleep(0.05)
        await handle.signal("promote", {"actor": "ana"})
        await scene.until(lambda: Phase.PAUSED in one.phases or one.phases[-1].terminal, skipping=False)
        assert Phase.PAUSED in one.phases
        await handle.signal("resume", {"actor": "ana"})
        result = await handle.result()
    assert result.phase is Phase.COMPLETED


async def knows_the_end_of_a_child(handle: WorkflowHandle) -> bool:
    field = "child_workflow_execution_completed_event_attributes"
    return any([event.HasField(field) async for event in handle.fetch_history_events()])


async def test_doubt_in_the_background_turns_back_where_the_policy_says_so(real_stage):
    result = await deployed(real_stage, watched(said("inconclusive"), on_inconclusive="rollback"))
    assert result.cause.kind is CauseKind.INCONCLUSIVE


async def test_background_analysis_watches_a_direct_rollout_too(real_stage):
    one = watched(said("successful"))
    one.strategy = Direct()
    assert (await deployed(real_stage, one)).phase is Phase.COMPLETED
    assert [each.verdict.outcome for each in one.conclusions] == [Outcome.PASS]
