"""Background analysis: condition checks beside the waves, from a starting wave to the end of the rollout."""

import asyncio

from temporalio import workflow

from domain.analysis import Outcome
from domain.console import clip
from domain.deployment import Cause, CauseKind
from domain.measuring import AnalysisRun, AnalysisSoFar
from domain.messages import AnalysisResult
from domain.names import background_id
from domain.plan import Plan, Watch
from domain.policy import AnalysisRule
from workflows.analysis import CanaryAnalysisWorkflow
from workflows.judging import heed, turns_back
from workflows.rollout import Rollout
from workflows.tasks import settle


class Background:
    """The background analysis of one deployment. Its fail is an alarm; its doubt pauses the rollout."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._child: workflow.ChildWorkflowHandle[CanaryAnalysisWorkflow, AnalysisResult] | None = None
        self._watching: asyncio.Task[AnalysisResult] | None = None
        self._step: Watch | None = None
        self._concluding = False
        self._asked = False  # a person resumed the rollout after its doubt

    async def start(self, plan: Plan, step: Watch) -> None:
        """Watch from now on."""
        rollout = self._rollout
        request = AnalysisRun(
            so_far=AnalysisSoFar(),
            tenant=plan.tenant,
            environment=plan.environment,
            deployment=rollout.request.deployment,
            analysis=background_id(rollout.request.deployment),
            wave=step.wave,
            module=plan.release.module,
            canary=plan.nodes,
            baseline=(),
            canary_version=plan.release.version,
            rule=step.rule,
            subject=f"{plan.release}, in the background",
            background=True,
        )
        self._step = step
        self._child = await workflow.start_child_workflow(
            CanaryAnalysisWorkflow.run,
            request,
            id=request.analysis,
            static_summary=clip(f"watch {request.subject}"),
            search_attributes=rollout.attributes,
        )
        self._watching = asyncio.create_task(self._watch(self._child, step.rule))

    async def conclude(self) -> None:
        """The rollout is through: no more measurements, and the last word counts.

        Raises:
            Halted: the verdict turns the rollout back.
        """
        if self._child is None or self._watching is None or self._step is None:
            return
        self._concluding = True
        if not self._watching.done():
            await self._child.signal(CanaryAnalysisWorkflow.conclude)
        result: AnalysisResult = await self._rollout.attend(self._watching)
        if not self._asked:
            await heed(self._rollout, result.verdict, self._step)

    async def stop(self) -> None:
        """The rollout turns back: nothing is watched any longer."""
        if self._watching is not None:
            await settle(self._watching)

    async def _watch(
        self,
        child: workflow.ChildWorkflowHandle[CanaryAnalysisWorkflow, AnalysisResult],
        rule: AnalysisRule,
    ) -> AnalysisResult:
        result = await child
        verdict, controls = result.verdict, self._rollout.controls
        words = f"background analysis: {verdict.reason}"
        if verdict.outcome is Outcome.FAIL:
            controls.alarm = Cause(kind=CauseKind.ANALYSIS, message=words)
        elif verdict.outcome is Outcome.INCONCLUSIVE and not self._concluding:
            if turns_back(verdict, rule):
                controls.alarm = Cause(kind=CauseKind.INCONCLUSIVE, message=words)
            else:
                controls.paused_by, self._asked = words, True
        return result
