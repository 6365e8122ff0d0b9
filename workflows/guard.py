"""Watches a release after its deployment has completed; a breach takes it back, and only it."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.analysis import Doubt, Outcome, Verdict
from domain.events import EventKind
from domain.guard import Breach, GuardResult, Returned
from domain.guarding import Guarded, GuardInput, ending, guard_analysis, look_back
from domain.measuring import with_conditions
from domain.messages import Look
from workflows.attributes import show_position
from workflows.chronicle import Chronicle
from workflows.guard_checks import GuardChecks
from workflows.inbox import Inbox, Receives
from workflows.options import LOOK, RECORD
from workflows.tasks import within
from workflows.verdicts import keep_last_word, show_verdict
from workflows.waking import wake_lane

with workflow.unsafe.imports_passed_through():
    from activities.orders import Guards, Looks


@workflow.defn
class GuardWorkflow(Receives):
    """Looks on an interval for as long as the rule says, condition checks beside. The lane is free meanwhile.

    It continues as new when its history has grown.
    """

    @workflow.init
    def __init__(self, request: GuardInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._chronicle = Chronicle(
            tenant=request.tenant, deployment=request.deployment, series=f"guard-{workflow.info().run_id[:8]}"
        )
        self._stands = request.continues or Guarded(opened=workflow.time())
        self._analysis = guard_analysis(request, self._stands.opened)
        self._checks = GuardChecks(self._analysis, self._stands.checks)
        self._verdict: Verdict | None = None

    @workflow.run
    async def run(self, request: GuardInput) -> GuardResult:
        """Until the time is over or the breach."""
        if request.continues is None:
            words = f"watched for {request.rule.seconds:.0f} s"
            await self._chronicle.note(EventKind.GUARD_OPENED, words)
        checking = asyncio.ensure_future(self._checks.run())
        breach = await self._watch()
        # What is being measured is short: it is waited for rather than cancelled, so that its result is kept.
        self._checks.stop()
        await workflow.wait([checking])
        if breach is None and workflow.time() < self._until:
            stands = self._stands.model_copy(update={"checks": self._checks.progress})
            workflow.continue_as_new(request.model_copy(update={"continues": stands}))
        final = await self._conclude()
        if breach is not None:
            return await self._breached(breach)
        words = ending(request.rule, self._stands, final)
        await self._chronicle.note(EventKind.GUARD_CLOSED, words)
        show_position(phase="guard-over", wave=None, waiting_for="")
        return GuardResult(breached=False, reason=words)

    @property
    def _until(self) -> float:
        return self._stands.opened + self._request.rule.seconds

    async def _watch(self) -> str | None:
        """Look after look; why there is a breach, None at the end of the time or of a history's room."""
        rule = self._request.rule
        while workflow.time() < self._until and not workflow.info().is_continue_as_new_suggested():
            pause = min(rule.interval, self._until - workflow.time())
            if await within(pause, lambda: self._checks.failed, "the guard's next look"):
                failed = (each for each in self._checks.verdicts if each.outcome is Outcome.FAIL)
                return "; ".join(each.reason for each in failed)
            verdict = await self._look()
            if self._stands.misses >= rule.misses:
                return verdict.reason
        return None

    async def _look(self) -> Verdict:
        before, number = self._stands, self._stands.looks + 1
        reach = look_back(self._request.rule, workflow.time() - before.opened)
        look = Look(analysis=self._analysis, number=number, seconds=reach)
        verdict = self._verdict = await _verdict_of(look)
        failed, unsure = verdict.outcome is Outcome.FAIL, verdict.outcome is Outcome.INCONCLUSIVE
        counts = {"misses": before.misses + 1 if failed else 0, "doubts": before.doubts + unsure}
        self._stands = before.model_copy(update={"looks": number, **counts})
        show_verdict(self._analysis.subject, with_conditions(verdict, self._checks.verdicts))
        return verdict

    async def _conclude(self) -> Verdict | None:
        """The last word, kept where checks have a part in it."""
        if not self._request.rule.conditions:
            return self._verdict
        final = with_conditions(self._verdict, self._checks.verdicts)
        await keep_last_word(self._analysis, final)
        return final

    async def _breached(self, reason: str) -> GuardResult:
        """Queue the way back in the lane; where a later deployment of the module came, there is none."""
        request = self._request
        breach = Breach(
            tenant=request.tenant,
            environment=request.environment,
            deployment=request.deployment,
            reason=f"guard window breached: {reason}"[:1000],
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


async def _verdict_of(look: Look) -> Verdict:
    """What the look says; one that could not be taken, however often it was tried, does not end a guard."""
    try:
        verdict: Verdict = await workflow.execute_activity_method(
            Looks.look, look, summary=f"look {look.number} of the guard", **LOOK
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        reason = f"look {look.number} could not be taken: {error.cause or error}"
        return Verdict(
            outcome=Outcome.INCONCLUSIVE, doubt=Doubt.ERROR, reason=reason[:1000], looks=look.number
        )
    return verdict
