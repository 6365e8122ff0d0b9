"""Analyses whose histories would grow without end continue as new, and nobody can tell by what they do."""

import uuid

import pytest

from domain.analysis import Outcome
from domain.conditions.measurement import Measurement
from domain.conditions.metric import ConditionMetric, MetricPhase
from domain.deployment import Phase
from domain.measuring import AnalysisSoFar, Measured, MeasureOrder
from domain.names import CONTROL_QUEUE, analysis_id, background_id, deployment_workflow_id
from domain.policy import AnalysisRule, BackgroundRule, EnvironmentPolicy
from domain.providers import ConditionCheck, WebProvider
from domain.strategy import Canary
from tests.workflows.world import World, analysis_of
from workflows.analysis import CanaryAnalysisWorkflow

LOOKS = AnalysisRule(duration=150, interval=10, warm_up=20)
CHECKS = AnalysisRule(
    conditions=(
        ConditionCheck(
            metric=ConditionMetric(name="rate", success_condition="result > 0", interval=15, count=12),
            provider=WebProvider(url="http://127.0.0.1:1/"),
        ),
    )
)
ROOM = 60


def good(_order: MeasureOrder) -> Measured:
    return Measured(measurement=Measurement(phase=MetricPhase.SUCCESSFUL, value="1", finished=0.0))


async def long_analysis(stage, rule: AnalysisRule, room: int):
    """Its result, the world that it ran in, and the events of each of its runs."""
    name = f"analysis-{uuid.uuid4().hex[:8]}"
    so_far = AnalysisSoFar(room=room)
    request = analysis_of(name, rule, background=bool(rule.conditions), so_far=so_far)
    world = World(verdict=lambda _look: Outcome.PASS, measured=good)
    async with stage(world) as scene:
        handle = await scene.client.start_workflow(
            CanaryAnalysisWorkflow.run, request, id=name, task_queue=CONTROL_QUEUE
        )
        result, lengths, run = await handle.result(), [], handle.first_execution_run_id
        while run:
            history = await scene.client.get_workflow_handle(name, run_id=run).fetch_history()
            lengths.append(len(history.events))
            run = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return result, world, lengths


@pytest.mark.parametrize("rule", [LOOKS, CHECKS], ids=["looks", "in-the-background"])
async def test_an_analysis_in_many_runs_does_what_it_does_in_one(stage, rule):
    """No look and no measurement is lost, done twice or put off where it continues as new."""
    whole, one_run, [alone] = await long_analysis(stage, rule, room=10_000)
    parts, many_runs, lengths = await long_analysis(stage, rule, room=ROOM)
    assert alone > ROOM
    assert len(lengths) > 1
    assert max(lengths) < ROOM + 25
    assert (parts.verdict.outcome, parts.verdict.looks) == (whole.verdict.outcome, whole.verdict.looks)
    assert [look.number for look in many_runs.looks] == [look.number for look in one_run.looks]
    times = [round(look.seconds / 10) for look in many_runs.looks]
    assert times == [round(look.seconds / 10) for look in one_run.looks]
    numbers = [order.number for order in many_runs.measurements]
    assert numbers == [order.number for order in one_run.measurements]
    assert round(parts.seconds / 10) == round(whole.seconds / 10)


async def runs(scene, workflow_id: str) -> list[int]:
    """The events of each run of a workflow, the last one first."""
    lengths, run = [], None
    while run != "":
        history = await scene.client.get_workflow_handle(workflow_id, run_id=run).fetch_history()
        lengths.append(len(history.events))
        run = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return lengths


async def test_no_history_of_a_canary_to_a_thousand_nodes_has_2000_events(stage):
    """Production's canary in the worst case: the judge stays in doubt, checks go on in the background.

    With real agents: bench/history.py.
    """
    [check] = CHECKS.conditions
    endless = check.metric.model_copy(update={"count": None, "interval": 30.0})
    checks = (check.model_copy(update={"metric": endless}),)
    policy = EnvironmentPolicy(unsigned_votes=True, background=BackgroundRule(conditions=checks))
    doubt = {"verdict": lambda _look: Outcome.INCONCLUSIVE, "measured": good}
    world = World(nodes=1000, strategy=Canary(), policy=policy, **doubt)
    async with stage(world) as scene:
        handle = await scene.deploy("a-thousand")
        for waves in (1, 2, 3):
            await scene.until(lambda waves=waves: holds(world) == waves, step=300)
            await handle.signal("promote", {"actor": "ana"})
        result = await handle.result()
        analyses = [analysis_id("a-thousand", wave) for wave in (1, 2, 3)]
        lengths = [
            each
            for name in (deployment_workflow_id("a-thousand"), *analyses)
            for each in await runs(scene, name)
        ]
        beside = await runs(scene, background_id("a-thousand"))
    assert result.phase is Phase.COMPLETED
    assert set(world.running.values()) == {"2.0.0"}
    assert len(world.looks) == 3 * 40
    assert len(beside) > 1
    assert max(*lengths, *beside) < 2000


def holds(world: World) -> int:
    return sum(entry.phase is Phase.HOLDING for entry in world.progress)
