"""The analysis of a wave, and what its verdict means for the rollout."""

from temporalio import workflow

from domain.analysis import Doubt, Outcome, Verdict
from domain.baseline import BASELINE_NODES
from domain.console import clip
from domain.deployment import Cause, CauseKind, Phase
from domain.measuring import AnalysisRun, AnalysisSoFar
from domain.messages import AnalysisResult
from domain.names import NodeName, analysis_id
from domain.plan import Analyze, Plan, Watch
from domain.policy import AnalysisRule
from workflows.analysis import CanaryAnalysisWorkflow
from workflows.controls import Halted
from workflows.rollout import Rollout


async def analyze(rollout: Rollout, plan: Plan, step: Analyze) -> None:
    """All nodes changed so far, against those not changed yet or by their own health.

    Raises:
        Halted: the verdict turns the rollout back.
    """
    await rollout.board.enter(Phase.ANALYZING, f"judging wave {step.wave}", wave=step.wave)
    request = AnalysisRun(
        so_far=AnalysisSoFar(),
        tenant=plan.tenant,
        environment=plan.environment,
        deployment=rollout.request.deployment,
        analysis=analysis_id(rollout.request.deployment, step.wave),
        wave=step.wave,
        module=plan.release.module,
        canary=rollout.changed_by(plan, step.wave),
        baseline=_baseline(rollout, plan, step),
        against=step.against,
        canary_version=plan.release.version,
        rule=step.rule,
        subject=f"{plan.release}, wave {step.wave} of {len(plan.waves)}",
        renewed=workflow.time() - rollout.renewed_at if rollout.renewed_at is not None else None,
    )
    child = await workflow.start_child_workflow(
        CanaryAnalysisWorkflow.run,
        request,
        id=request.analysis,
        static_summary=clip(f"judge {request.subject}"),
        search_attributes=rollout.attributes,
    )
    analysis: AnalysisResult | None = await rollout.attend(child, skippable=True)
    if analysis is not None:
        await heed(rollout, analysis.verdict, step)


def _baseline(rollout: Rollout, plan: Plan, step: Analyze) -> tuple[NodeName, ...]:
    """Nodes that are not changed yet: those that the plan names, or that were restarted, if it wants that."""
    if step.against != "baseline":
        return ()
    if step.nodes:
        return rollout.able(step.nodes)
    if step.rule.against == "fresh":
        group = rollout.able(plan.fresh_baseline(step.wave))
        return tuple(name for name in group if name not in rollout.not_renewed)
    return plan.remaining_after(step.wave)[:BASELINE_NODES]


def turns_back(verdict: Verdict, rule: AnalysisRule) -> bool:
    """Whether an inconclusive verdict ends the rollout; one for want of a provider never does."""
    return rule.on_inconclusive == "rollback" and verdict.doubt is not Doubt.PROVIDER_DOWN


async def heed(rollout: Rollout, verdict: Verdict, step: Analyze | Watch) -> None:
    """Only pass promotes. In doubt a person decides, or the rollout turns back, as the rule says.

    A provider that is down says nothing about the release, so that it never turns one back.

    Raises:
        Halted: the verdict turns the rollout back.
    """
    await rollout.board.take_verdict(verdict, step.wave)
    if verdict.outcome is Outcome.FAIL:
        raise Halted(Cause(kind=CauseKind.ANALYSIS, message=verdict.reason))
    if verdict.outcome is Outcome.PASS:
        return
    if turns_back(verdict, step.rule):
        raise Halted(Cause(kind=CauseKind.INCONCLUSIVE, message=verdict.reason))
    await rollout.board.enter(
        Phase.HOLDING,
        f"inconclusive: {verdict.reason}",
        wave=step.wave,
        waiting_for="a person: promote or abort",
    )
    with rollout.deadline.held():
        await rollout.attend(workflow.wait_condition(lambda: False), skippable=True)
