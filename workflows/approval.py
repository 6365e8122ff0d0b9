"""A gate: waits for people's votes, counts those that count, shows those that do not."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

from domain.console import approval_details
from domain.events import EventKind
from domain.gate import Ballot, Decision, GateResult, Poll, Refusal
from domain.messages import ApprovalInput, ApprovalResult, PollRecord, TokenCheck, VoteTokenVerdict
from workflows.attributes import show_position
from workflows.chronicle import Chronicle
from workflows.inbox import Inbox, Message, Receives
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records, Tokens

HOW = (
    "Vote with *Send a Signal*: `approve` or `reject`, with "
    '`{"approver": "you", "comment": "why", "token": "…"}`. '
    "The token comes from `hotswap approve ID --print-signal`; a rejection needs none."
)


@workflow.defn
class ApprovalWorkflow(Receives):
    """One gate of one deployment. Its result is bound to the plan's digest."""

    @workflow.init
    def __init__(self, request: ApprovalInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._chronicle = Chronicle(
            tenant=request.tenant, deployment=request.deployment, series=f"gate-{request.rule.name}"
        )
        self._poll = Poll(
            gate=request.gate,
            rule=request.rule,
            plan=request.plan,
            requester=request.requester,
            unsigned_votes=request.unsigned_votes,
        )
        self._expires = workflow.time() + request.rule.expires_after

    @workflow.run
    async def run(self, request: ApprovalInput) -> ApprovalResult:
        """Wait for the quorum, a rejection or the expiry."""
        await self._save(None)
        await self._chronicle.note(
            EventKind.GATE_OPENED, f"gate {request.rule.name} waits: {request.subject}"
        )
        result = await self._collect()
        await self._save(result)
        await self._chronicle.note(EventKind.GATE_CLOSED, f"gate {request.rule.name}: {result}")
        show_position(phase=result, wave=None, waiting_for="")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ApprovalResult(result=result, poll=self._poll)

    async def _collect(self) -> GateResult:
        while self._poll.result is None:
            self._show()
            if not await self._vote_arrives():
                return GateResult.EXPIRED
            while self._poll.result is None and (message := self.inbox.take()) is not None:
                await self._count(message)
        self._show()
        return self._poll.result

    async def _vote_arrives(self) -> bool:
        """Wait for a signal; False when the gate expired and its rule says that this rejects."""
        left = self._expires - workflow.time()
        if self._poll.rule.on_expiry == "hold":
            await workflow.wait_condition(lambda: self.inbox.pending)
            return True
        try:
            await workflow.wait_condition(
                lambda: self.inbox.pending,
                timeout=timedelta(seconds=max(0.0, left)),
                timeout_summary=f"gate {self._poll.rule.name} expires",
            )
        except TimeoutError:
            return False
        return True

    async def _count(self, message: Message) -> None:
        before = self._poll
        self._poll = await self._cast(message)
        await self._save(None)
        if len(self._poll.votes) > len(before.votes):
            vote = self._poll.votes[-1]
            words = f"{vote.voter} says {vote.decision} ({vote.trust})"
            await self._chronicle.note(EventKind.VOTE_COUNTED, words, actor=vote.voter)
        else:
            refusal = self._poll.refused[-1]
            words = f"a vote by {refusal.claimed or 'anonymous'} does not count: {refusal.reason}"
            await self._chronicle.note(EventKind.VOTE_REFUSED, words, actor=refusal.claimed)

    async def _cast(self, message: Message) -> Poll:
        now = workflow.time()
        if not message.known:
            return self._poll.refuse(message.name, Refusal.UNKNOWN_SIGNAL, now)
        ballot = message.read(Ballot)
        if ballot is None:
            return self._poll.refuse("", Refusal.MALFORMED, now)
        decision = Decision(message.name)
        if ballot.decision not in (None, decision):
            return self._poll.refuse(ballot.approver, Refusal.MALFORMED, now)
        if ballot.token is None:
            return self._poll.cast(ballot, decision, None, now)
        verdict: VoteTokenVerdict = await workflow.execute_activity_method(
            Tokens.read_vote, TokenCheck(token=ballot.token), summary="check the vote's token", **RECORD
        )
        if verdict.claims is None:
            return self._poll.refuse(ballot.approver, verdict.refusal or Refusal.FORGED_TOKEN, now)
        return self._poll.cast(ballot, decision, verdict.claims, now)

    async def _save(self, result: GateResult | None) -> None:
        record = PollRecord(request=self._request, poll=self._poll, expires=self._expires, result=result)
        await workflow.execute_activity_method(Records.save_poll, record, summary="record the poll", **RECORD)

    def _show(self) -> None:
        workflow.set_current_details(approval_details(self._poll, self._request.subject, self._expires, HOW))
        left = self._poll.rule.required - self._poll.approvals
        show_position(phase="waiting-approval", wave=None, waiting_for=f"{left} × {self._poll.rule.role}")

    @workflow.signal(description='Approve: {"approver": "you", "comment": "why", "token": "…"}')
    def approve(self, body: Any = None, *extra: Any) -> None:
        """A vote for going on."""
        self.inbox.put(Decision.APPROVE, body, extra)

    @workflow.signal(description='Reject: {"approver": "you", "comment": "why"}')
    def reject(self, body: Any = None, *extra: Any) -> None:
        """A vote against going on; one is enough."""
        self.inbox.put(Decision.REJECT, body, extra)

    @workflow.query(description="The gate, its votes and those that do not count.")
    def poll(self) -> Poll:
        """The poll as it stands."""
        return self._poll
