"""The judge's run over one wave: looks on an interval, stops early on a fail, extends when in doubt."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

from domain.analysis import Doubt, Outcome, Verdict
from domain.console import verdict_details
from domain.measuring import Conclusion, with_conditions
from domain.messages import AnalysisInput, AnalysisResult, Look
from workflows.attributes import VERDICT, show_position
from workflows.conditions import Conditions
from workflows.inbox import Inbox, Receives
from workflows.options import LOOK, MEASUREMENT
from workflows.tasks import settle

with workflow.unsafe.imports_passed_through():
    from activities.orders import Looks, Measurements

OUTLASTS: Final = "looks-outlast-an-outage"  # before, it ended the analysis


@workflow.defn
class CanaryAnalysisWorkflow(Receives):
    """Canary nodes against concurrent baseline nodes, until the verdict or the end of the time.

    Condition checks of the rule run beside the looks. In the background there are no looks: the checks run
    until the deployment says `conclude`, or one of them is bad.
    """

    @workflow.init
    def __init__(self, request: AnalysisInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._verdict: Verdict | None = None
        self._conditions = Conditions(request, request.rule.conditions)
        self._concluding = False
        self._looking = False

    @workflow.run
    async def run(self, request: AnalysisInput) -> AnalysisResult:
        """Warm up, then look every interval. A fail ends it at once, a pass at the end of a duration."""
        show_position(phase="analyzing", wave=request.wave, waiting_for="")
        workflow.set_current_details(verdict_details(request.subject, None))
        if request.background:
            began = workflow.time()
            await self._watch()
        else:
            rule = request.rule
            await workflow.sleep(timedelta(seconds=rule.warm_up), summary=f"warm up wave {request.wave}")
            began = workflow.time()
            if not rule.conditions:
                verdict = await self._judge(began)
                return AnalysisResult(verdict=verdict, seconds=workflow.time() - began)
            await self._judge_and_measure(began)
        final = with_conditions(self._verdict, self._conditions.verdicts)
        self._show(final)
        conclusion = Conclusion(analysis=request, verdict=final)
        await workflow.execute_activity_method(
            Measurements.keep, conclusion, summary="keep the last word", **MEASUREMENT
        )
        return AnalysisResult(verdict=final, seconds=workflow.time() - began)

    async def _watch(self) -> None:
        """Measure until told to conclude, or one check is bad."""
        measuring = asyncio.ensure_future(self._conditions.run())
        await workflow.wait_condition(lambda: measuring.done() or self._concluding)
        self._conditions.end()
        await measuring

    async def _judge_and_measure(self, began: float) -> None:
        """Both at once: the first that fails ends the other; a pass waits for checks that have a count."""
        judging = asyncio.ensure_future(self._judge(began))
        measuring = asyncio.ensure_future(self._conditions.run())
        try:
            await workflow.wait_condition(
                lambda: judging.done() or (measuring.done() and self._conditions.bad)
            )
            if judging.done() and judging.result().outcome is not Outcome.FAIL:
                self._conditions.end()
                await measuring
        finally:
            # What is under way is short: it is waited for rather than cancelled, so that its result is kept.
            self._conditions.stop()
            await workflow.wait_condition(lambda: not self._looking)
            await settle(judging)
            await workflow.wait([measuring])

    async def _judge(self, began: float) -> Verdict:
        rule = self._request.rule
        verdict = await self._look_until(began, rule.duration)
        for extension in range(rule.extensions):
            if verdict.outcome is not Outcome.INCONCLUSIVE:
                break
            verdict = await self._look_until(began, rule.duration * (extension + 2))
        if verdict.doubt is Doubt.PROVIDER_DOWN and workflow.patched(OUTLASTS):
            verdict = await self._outlast(began, verdict)
        return verdict

    async def _outlast(self, began: float, verdict: Verdict) -> Verdict:
        """Nothing is known while a provider is down: look until it is back, and then for another duration."""
        rule = self._request.rule
        until = workflow.time() + rule.outage
        while verdict.doubt is Doubt.PROVIDER_DOWN and workflow.time() < until:
            verdict = await self._look_until(began, 0.0)
            if verdict.doubt is not Doubt.PROVIDER_DOWN and not self._decided(verdict):
                verdict = await self._look_until(began, workflow.time() - began + rule.duration)
        return verdict

    async def _look_until(self, began: float, seconds: float) -> Verdict:
        """Look at least once more, and until `seconds` after `began`; a fail ends it early."""
        interval = timedelta(seconds=self._request.rule.interval)
        while True:
            await workflow.sleep(interval, summary=f"next look at wave {self._request.wave}")
            verdict = await self._look(workflow.time() - began)
            if self._decided(verdict) or workflow.time() - began >= seconds:
                return verdict

    def _decided(self, verdict: Verdict) -> bool:
        """Whether no further look is needed: a clear fail, or a clear pass where that is enough."""
        passed = verdict.outcome is Outcome.PASS and self._request.rule.early_pass
        return passed or verdict.outcome is Outcome.FAIL

    async def _look(self, seconds: float) -> Verdict:
        number = (self._verdict.looks if self._verdict else 0) + 1
        look = Look(analysis=self._request, number=number, seconds=seconds)
        self._looking = True
        try:
            verdict: Verdict = await workflow.execute_activity_method(
                Looks.look, look, summary=f"look {number} at wave {self._request.wave}", **LOOK
            )
        finally:
            self._looking = False
        self._verdict = verdict
        self._show(verdict)
        return verdict

    def _show(self, verdict: Verdict) -> None:
        workflow.upsert_search_attributes([VERDICT.value_set(verdict.outcome)])
        workflow.set_current_details(verdict_details(self._request.subject, verdict))

    @workflow.signal(description="The rollout is through: the background analysis says its last word.")
    def conclude(self, _body: Any = None, *_extra: Any) -> None:
        """Measure no more than what still must be."""
        self._concluding = True

    @workflow.query(description="The last verdict.")
    def verdict(self) -> Verdict | None:
        """What the judge said last; None before the first look."""
        return self._verdict
