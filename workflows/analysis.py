"""The judge's run over one wave: looks on an interval, stops early on a fail, extends when in doubt."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

from domain.analysis import Doubt, Outcome, Verdict
from domain.console import verdict_details
from domain.measuring import AnalysisRun, AnalysisSoFar, with_conditions
from domain.messages import AnalysisResult, Look
from workflows.attributes import show_position
from workflows.conditions import Conditions
from workflows.inbox import Inbox, Receives
from workflows.options import LOOK
from workflows.tasks import settle, within
from workflows.verdicts import keep_last_word, show_verdict

with workflow.unsafe.imports_passed_through():
    from activities.orders import Looks

OUTLASTS: Final = "looks-outlast-an-outage"  # before, it ended the analysis
ALONE: Final = "checks-decide-alone"  # before, a judge without metrics was asked too, and was never sure


@workflow.defn
class CanaryAnalysisWorkflow(Receives):
    """Canary nodes against concurrent baseline nodes, until the verdict or the end of the time.

    Condition checks of the rule run beside the looks. Where the rule compares no metric they decide alone. In
    the background there are no looks: the checks run until the deployment says `conclude`, or one of them is
    bad. It continues as new when its history has grown.
    """

    @workflow.init
    def __init__(self, request: AnalysisRun) -> None:
        self.inbox = Inbox()
        self._request = request
        self._room = request.so_far.room if request.so_far else None
        self._stands = request.so_far or AnalysisSoFar()
        self._conditions = Conditions(
            request,
            request.rule.conditions,
            self._stands.checks,
            since=self._stands.measuring,
            measured=self._stands.measured,
            told=self._show,
        )
        self._concluding = self._stands.concluding
        self._looking = False

    @workflow.run
    async def run(self, request: AnalysisRun) -> AnalysisResult:
        """Warm up, then look every interval. A fail ends it at once, a pass at the end of a duration."""
        show_position(phase="analyzing", wave=request.wave, waiting_for="")
        workflow.set_current_details(verdict_details(request.subject, self._stands.verdict))
        began = await self._begin()
        if request.background:
            through = await self._watch()
        elif request.checks_alone and workflow.patched(ALONE):
            through = await self._measure_alone(began)
        elif request.rule.conditions:
            through = await self._judge_and_measure(began)
        else:
            through = await self._judge_alone(began)
        if not through:
            workflow.continue_as_new(request.model_copy(update={"so_far": self._so_far()}))
        seconds = workflow.time() - began
        verdict = self._stands.verdict
        if verdict is not None and not request.rule.conditions and not request.background:
            return AnalysisResult(verdict=verdict, seconds=seconds)
        final = with_conditions(verdict, self._conditions.verdicts)
        await keep_last_word(request, final)
        return AnalysisResult(verdict=final, seconds=seconds)

    async def _begin(self) -> float:
        """When it began, in seconds since the epoch: now, after the warm-up, unless an earlier run has."""
        began = self._stands.began
        if began is None:
            if not self._request.background:
                warm_up = timedelta(seconds=self._request.rule.warm_up)
                await workflow.sleep(warm_up, summary=f"warm up wave {self._request.wave}")
            began = workflow.time()
            self._now_stands(began=began)
        return began

    @property
    def _full(self) -> bool:
        """Whether it is time to continue as new. What is under way is short: it comes first."""
        if self._room is None or self._looking or self._concluding:
            return False
        return workflow.info().get_current_history_length() >= self._room

    def _now_stands(self, **facts: Any) -> None:
        self._stands = self._stands.model_copy(update=facts)

    def _so_far(self) -> AnalysisSoFar:
        """What the next run goes on from."""
        conditions = self._conditions
        return self._stands.model_copy(
            update={
                "checks": conditions.progress,
                "measuring": conditions.since,
                "measured": conditions.measured,
                "concluding": self._concluding,
            }
        )

    async def _watch(self) -> bool:
        """Measure until told to conclude, or one check is bad; False when the history is full before that."""
        measuring = asyncio.ensure_future(self._conditions.run())
        await workflow.wait_condition(lambda: measuring.done() or self._concluding or self._full)
        through = measuring.done() or self._concluding
        if through:
            self._conditions.end()
        else:
            self._conditions.stop()
        await measuring
        return through

    async def _measure_alone(self, began: float) -> bool:
        """Measure for one duration, what is counted to its end, and what is held until its provider is back.

        False when the history is full before that.
        """
        measuring = asyncio.ensure_future(self._conditions.run())
        left = began + self._request.rule.duration - workflow.time()
        try:
            await within(max(left, 0.0), lambda: measuring.done() or self._full, "end of the measurements")
            await workflow.wait_condition(lambda: measuring.done() or self._full or not self._conditions.held)
            if not self._full:
                self._conditions.end()
            await workflow.wait_condition(lambda: measuring.done() or self._full)
            through = measuring.done()
        finally:
            self._conditions.stop()
            await workflow.wait([measuring])
        return through

    async def _judge_alone(self, began: float) -> bool:
        """Look until the verdict; False when the history is full before that."""
        judging = asyncio.ensure_future(self._judge(began))
        try:
            await workflow.wait_condition(lambda: judging.done() or self._full)
        except asyncio.CancelledError:
            await settle(judging)
            raise
        if judging.done():
            judging.result()
            return True
        await settle(judging)
        return False

    async def _judge_and_measure(self, began: float) -> bool:
        """Both at once: the first that fails ends the other; a pass waits for checks that have a count.

        False when the history is full before that.
        """
        judging = asyncio.ensure_future(self._judge(began))
        measuring = asyncio.ensure_future(self._conditions.run())
        try:
            await workflow.wait_condition(
                lambda: judging.done() or (measuring.done() and self._conditions.bad) or self._full
            )
            through = judging.done() or (measuring.done() and self._conditions.bad)
            if judging.done() and judging.result().outcome is not Outcome.FAIL:
                self._conditions.end()
                await workflow.wait_condition(lambda: measuring.done() or self._full)
                through = measuring.done()
        finally:
            # What is under way is short: it is waited for rather than cancelled, so that its result is kept.
            self._conditions.stop()
            await workflow.wait_condition(lambda: not self._looking)
            await settle(judging)
            await workflow.wait([measuring])
        return through

    async def _judge(self, began: float) -> Verdict:
        """The last word; an earlier run may have said it already."""
        verdict = self._stands.verdict
        if verdict is None or not self._stands.judged:
            if verdict is None or self._stands.outage_until is None:
                verdict = await self._judge_in_time(began)
            if self._stands.back_until:
                verdict = await self._look_on(began)
            if verdict.doubt is Doubt.PROVIDER_DOWN and self._outlasts():
                verdict = await self._outlast(began, verdict)
        self._now_stands(judged=True)
        return verdict

    async def _judge_in_time(self, began: float) -> Verdict:
        rule = self._request.rule
        while True:
            extension = self._stands.extensions
            verdict = await self._look_until(began, rule.duration * (extension + 1))
            if verdict.outcome is not Outcome.INCONCLUSIVE or extension >= rule.extensions:
                return verdict
            self._now_stands(extensions=extension + 1)

    def _outlasts(self) -> bool:
        """Whether it waits for a provider that is down: for how long is said once."""
        if self._stands.outage_until is None and workflow.patched(OUTLASTS):
            self._now_stands(outage_until=workflow.time() + self._request.rule.outage)
        return self._stands.outage_until is not None

    async def _outlast(self, began: float, verdict: Verdict) -> Verdict:
        """Nothing is known while a provider is down: look until it is back, and then for another duration."""
        until = self._stands.outage_until or 0.0
        while verdict.doubt is Doubt.PROVIDER_DOWN and workflow.time() < until:
            verdict = await self._look_until(began, 0.0)
            if verdict.doubt is not Doubt.PROVIDER_DOWN and not self._decided(verdict):
                self._now_stands(back_until=workflow.time() - began + self._request.rule.duration)
                verdict = await self._look_on(began)
        return verdict

    async def _look_on(self, began: float) -> Verdict:
        """The further duration after an outage; an earlier run may have begun it."""
        verdict = await self._look_until(began, self._stands.back_until)
        self._now_stands(back_until=0.0)
        return verdict

    async def _look_until(self, began: float, seconds: float) -> Verdict:
        """Look at least once more, and until `seconds` after `began`; a fail ends it early."""
        while True:
            await self._pause()
            verdict = await self._look(workflow.time() - began)
            if self._decided(verdict) or workflow.time() - began >= seconds:
                return verdict

    async def _pause(self) -> None:
        """Until the next look; one that an earlier run has planned is not put off."""
        interval, due = self._request.rule.interval, self._stands.next_look
        left = interval if due is None else max(0.0, due - workflow.time())
        self._now_stands(next_look=workflow.time() + left)
        await workflow.sleep(timedelta(seconds=left), summary=f"next look at wave {self._request.wave}")
        self._now_stands(next_look=None)

    def _decided(self, verdict: Verdict) -> bool:
        """Whether no further look is needed: a clear fail, or a clear pass where that is enough."""
        passed = verdict.outcome is Outcome.PASS and self._request.rule.early_pass
        return passed or verdict.outcome is Outcome.FAIL

    async def _look(self, seconds: float) -> Verdict:
        number = (self._stands.verdict.looks if self._stands.verdict else 0) + 1
        look = Look(analysis=self._request, number=number, seconds=seconds)
        self._looking = True
        try:
            verdict: Verdict = await workflow.execute_activity_method(
                Looks.look, look, summary=f"look {number} at wave {self._request.wave}", **LOOK
            )
        finally:
            self._looking = False
        self._now_stands(verdict=verdict)
        show_verdict(self._request.subject, verdict)
        if self._request.rule.conditions:
            self._show()
        return verdict

    def _show(self) -> None:
        """Where judge and checks stand, on the workflow's page."""
        verdict = with_conditions(self._stands.verdict, self._conditions.verdicts)
        workflow.set_current_details(verdict_details(self._request.subject, verdict))

    @workflow.signal(description="The rollout is through: the background analysis says its last word.")
    def conclude(self, _body: Any = None, *_extra: Any) -> None:
        """Measure no more than what still must be."""
        self._concluding = True

    @workflow.query(description="The last verdict.")
    def verdict(self) -> Verdict | None:
        """What the judge said last; None before the first look."""
        return self._stands.verdict
