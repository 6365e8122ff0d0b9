"""The judge's run over one wave: looks on an interval, stops early on a fail, extends when in doubt."""

from datetime import timedelta

from temporalio import workflow

from domain.analysis import Outcome, Verdict
from domain.console import verdict_details
from domain.messages import AnalysisInput, AnalysisResult, Look
from workflows.attributes import VERDICT, show_position
from workflows.inbox import Inbox, Receives
from workflows.options import LOOK

with workflow.unsafe.imports_passed_through():
    from activities.orders import Looks


@workflow.defn
class CanaryAnalysisWorkflow(Receives):
    """Canary nodes against concurrent baseline nodes, until the verdict or the end of the time."""

    @workflow.init
    def __init__(self, request: AnalysisInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._verdict: Verdict | None = None

    @workflow.run
    async def run(self, request: AnalysisInput) -> AnalysisResult:
        """Warm up, then look every interval. A fail ends it at once, a pass at the end of a duration."""
        rule = request.rule
        show_position(phase="analyzing", wave=request.wave, waiting_for="")
        workflow.set_current_details(verdict_details(request.subject, None))
        await workflow.sleep(timedelta(seconds=rule.warm_up), summary=f"warm up wave {request.wave}")
        began = workflow.time()
        verdict = await self._look_until(began, rule.duration)
        for extension in range(rule.extensions):
            if verdict.outcome is not Outcome.INCONCLUSIVE:
                break
            verdict = await self._look_until(began, rule.duration * (extension + 2))
        return AnalysisResult(verdict=verdict, seconds=workflow.time() - began)

    async def _look_until(self, began: float, seconds: float) -> Verdict:
        """Look at least once more, and until `seconds` after `began`; a fail ends it early."""
        interval = timedelta(seconds=self._request.rule.interval)
        while True:
            await workflow.sleep(interval, summary=f"next look at wave {self._request.wave}")
            verdict = await self._look(workflow.time() - began)
            if verdict.outcome is Outcome.FAIL or workflow.time() - began >= seconds:
                return verdict

    async def _look(self, seconds: float) -> Verdict:
        number = (self._verdict.looks if self._verdict else 0) + 1
        look = Look(analysis=self._request, number=number, seconds=seconds)
        verdict: Verdict = await workflow.execute_activity_method(
            Looks.look, look, summary=f"look {number} at wave {self._request.wave}", **LOOK
        )
        self._verdict = verdict
        workflow.upsert_search_attributes([VERDICT.value_set(verdict.outcome)])
        workflow.set_current_details(verdict_details(self._request.subject, verdict))
        return verdict

    @workflow.query(description="The last verdict.")
    def verdict(self) -> Verdict | None:
        """What the judge said last; None before the first look."""
        return self._verdict
