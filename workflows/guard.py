"""Watches a release after its deployment has completed; a breach takes it back, and only it."""

from datetime import timedelta

from temporalio import workflow

from domain.analysis import Outcome, Verdict
from domain.console import escape
from domain.events import EventKind
from domain.guard import Breach, GuardInput, GuardResult, Returned
from domain.messages import AnalysisInput, Look
from domain.names import guard_id
from domain.policy import AnalysisRule
from workflows.attributes import VERDICT, show_position
from workflows.chronicle import Chronicle
from workflows.inbox import Inbox, Receives
from workflows.options import LOOK, RECORD
from workflows.waking import wake_lane

with workflow.unsafe.imports_passed_through():
    from activities.orders import Guards, Looks


@workflow.defn
class GuardWorkflow(Receives):
    """Looks on an interval for as long as the rule says. The lane is free meanwhile."""

    @workflow.init
    def __init__(self, request: GuardInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._chronicle = Chronicle(
            tenant=request.tenant, deployment=request.deployment, series=f"guard-{workflow.info().run_id[:8]}"
        )
        self._looks = 0

    @workflow.run
    async def run(self, request: GuardInput) -> GuardResult:
        """Until the time is over or the breach."""
        rule = request.rule
        await self._chronicle.note(EventKind.GUARD_OPENED, f"watched for {rule.seconds:.0f} s")
        until, misses = workflow.time() + rule.seconds, 0
        while workflow.time() < until:
            pause = min(rule.interval, until - workflow.time())
            await workflow.sleep(timedelta(seconds=pause), summary="the guard's next look")
            verdict = await self._look()
            misses = misses + 1 if verdict.outcome is Outcome.FAIL else 0
            if misses >= rule.misses:
                return await self._breached(verdict)
        words = f"nothing happened in {rule.seconds:.0f} s after completion"
        await self._chronicle.note(EventKind.GUARD_CLOSED, words)
        show_position(phase="guard-over", wave=None, waiting_for="")
        return GuardResult(breached=False, reason=words)

    async def _look(self) -> Verdict:
        self._looks += 1
        request = self._request
        analysis = AnalysisInput(
            tenant=request.tenant,
            environment=request.environment,
            deployment=request.deployment,
            analysis=guard_id(request.deployment),
            wave=request.wave,
            module=request.module,
            canary=request.nodes,
            baseline=(),
            canary_version=request.version,
            rule=AnalysisRule(health=request.rule.health),
            subject=f"guard of {request.module}@{request.version}",
            against="health",
        )
        look = Look(analysis=analysis, number=self._looks, seconds=request.rule.window)
        verdict: Verdict = await workflow.execute_activity_method(
            Looks.look, look, summary=f"look {self._looks} of the guard", **LOOK
        )
        workflow.upsert_search_attributes([VERDICT.value_set(verdict.outcome)])
        workflow.set_current_details(f"look {self._looks}: **{verdict.outcome}** {escape(verdict.reason)}")
        return verdict

    async def _breached(self, verdict: Verdict) -> GuardResult:
        """Queue the way back in the lane; where a later deployment of the module came, there is none."""
        request = self._request
        breach = Breach(
            tenant=request.tenant,
            environment=request.environment,
            deployment=request.deployment,
            reason=f"guard window breached: {verdict.reason}"[:1000],
        )
        returned: Returned = await workflow.execute_activity_method(
            Guards.take_back, breach, summary="queue the way back", **RECORD
        )
        words = f"{breach.reason}; {returned.reason or f'taken back by {returned.deployment}'}"
        await self._chronicle.note(EventKind.GUARD_BREACHED, words)
        show_position(phase="guard-breached", wave=None, waiting_for="")
        if returned.deployment is not None:
            await wake_lane(request.tenant, request.environment, returned.deployment)
        return GuardResult(breached=True, reason=breach.reason, rollback=returned.deployment)
