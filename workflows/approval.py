"""A gate: waits for people's votes, counts those that count, shows those that do not."""

from collections.abc import Mapping
from typing import Any

from temporalio import workflow

from domain.approval import (
    ApprovalInput,
    ApprovalResult,
    DelegationTokenVerdict,
    PollEntry,
    PollRecord,
    VoteTokenVerdict,
)
from domain.approval_console import approval_details
from domain.console import clip
from domain.delegation import DelegationOrder
from domain.events import EventKind
from domain.gate import GateResult, NewDigest, Poll
from domain.gate_rule import MOST_REMINDERS
from domain.messages import TokenCheck
from domain.vote import Ballot, Decision, Refusal
from workflows.attributes import show_position
from workflows.inbox import Inbox, Message, Receives
from workflows.options import RECORD
from workflows.tasks import within

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records, Tokens

AMENDED = "amended"
DELEGATE = "delegate"


class Voted(Receives):
    """The signals of a gate. Each only fills the inbox."""

    @workflow.signal(description='Approve: {"approver": "you", "comment": "why", "token": "…"}')
    def approve(self, body: Any = None, *extra: Any) -> None:
        """A vote for going on."""
        self.inbox.put(Decision.APPROVE, body, extra)

    @workflow.signal(description='Reject: {"approver": "you", "comment": "why"}')
    def reject(self, body: Any = None, *extra: Any) -> None:
        """A vote against going on; one is enough."""
        self.inbox.put(Decision.REJECT, body, extra)

    @workflow.signal(description='Hand your vote on: {"token": "…"}, as `hotswap delegate` sends it')
    def delegate(self, body: Any = None, *extra: Any) -> None:
        """An approver's vote, handed on to somebody else."""
        self.inbox.put(DELEGATE, body, extra)

    @workflow.signal(description='What is decided has changed; voids votes: {"digest": "…", "actor": "who"}')
    def amended(self, body: Any = None, *extra: Any) -> None:
        """Another digest from now on; votes given so far are void."""
        self.inbox.put(AMENDED, body, extra)


@workflow.defn
class ApprovalWorkflow(Voted):
    """One gate of a deployment, or one request of another kind. Its result is bound to a digest."""

    @workflow.init
    def __init__(self, request: ApprovalInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._poll = request.poll()
        self._expires = workflow.time() + request.rule.expires_after
        self._entries = 0

    @workflow.run
    async def run(self, request: ApprovalInput) -> ApprovalResult:
        """Wait for a quorum, a rejection or the expiry: the first of them decides, for good."""
        await self._save(
            EventKind.GATE_OPENED, f"{request.rule.name} waits for people: {request.subject.words}"
        )
        result = await self._collect()
        await self._close(result)
        show_position(phase=result, wave=None, waiting_for="")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ApprovalResult(result=result, poll=self._poll)

    async def _collect(self) -> GateResult:
        while True:
            self._show()
            while (message := self.inbox.take()) is not None:
                await self._count(message)
                if self._poll.result is not None:
                    return self._poll.result
                self._show()
            if not await self._woken() and (result := await self._time_is_up()) is not None:
                return result

    async def _woken(self) -> bool:
        """Wait for a signal; False when the clock came first. What came before the clock is counted first."""
        return await within(self._patience(), lambda: self.inbox.pending, self._summary())

    def _patience(self) -> float | None:
        """Seconds until the next reminder or the expiry; None when only people can end it."""
        times = [] if self._poll.overdue else [self._expires]
        if (reminder := self._next_reminder()) is not None:
            times.append(reminder)
        return max(0.0, min(times) - workflow.time()) if times else None

    def _next_reminder(self) -> float | None:
        every = self._request.rule.remind_every
        if every is None or self._poll.reminders >= MOST_REMINDERS:
            return None
        return workflow.info().start_time.timestamp() + every * (self._poll.reminders + 1)

    def _summary(self) -> str:
        reminder = self._next_reminder()
        if reminder is not None and (self._poll.overdue or reminder < self._expires):
            return clip(f"remind of {self._request.rule.name}")
        return clip(f"{self._request.rule.name} expires")

    async def _time_is_up(self) -> GateResult | None:
        """What the clock brings: the expiry, or a reminder. An expiry that ends the gate is the result."""
        name = self._request.rule.name
        if self._poll.overdue or workflow.time() < self._expires:
            self._poll = self._poll.remind()
            await self._save(EventKind.GATE_REMINDED, f"{name} still waits for {self._poll.waits_for}")
            return None
        match self._poll.on_expiry:
            case "escalate":
                await self._escalate()
            case "hold":
                self._poll = self._poll.hold()
                words = f"{name} has expired and holds, until a person decides: {self._poll.waits_for}"
                await self._save(EventKind.GATE_HELD, words)
            case _:
                return GateResult.EXPIRED
        return None

    async def _escalate(self) -> None:
        self._poll = self._poll.escalate()
        if (escalation := self._request.rule.escalation) is not None:
            self._expires = workflow.time() + escalation.expires_after
        words = f"{self._request.rule.name} has expired and is open to others: {self._poll.waits_for}"
        await self._save(EventKind.GATE_ESCALATED, words)

    async def _close(self, result: GateResult) -> None:
        """Write the result down. Votes that come too late are kept as such."""
        await self._save(EventKind.GATE_CLOSED, f"{self._request.rule.name}: {result}", result=result)
        while (message := self.inbox.take()) is not None:
            self._poll = self._poll.refuse(self._claimed(message), Refusal.CLOSED, workflow.time())
            await self._save_refusal(result=result)
        self._show()

    async def _count(self, message: Message) -> None:
        if message.known and message.name == AMENDED:
            await self._amend(message)
        elif message.known and message.name == DELEGATE:
            await self._delegate(message)
        else:
            await self._vote(message)

    async def _vote(self, message: Message) -> None:
        before = self._poll
        self._poll = await self._cast(message)
        if len(self._poll.votes) == len(before.votes):
            await self._save_refusal()
            return
        vote = self._poll.votes[-1]
        behalf = f" for {vote.on_behalf_of}" if vote.on_behalf_of else ""
        words = f"{vote.voter}{behalf} says {vote.decision} ({vote.trust})"
        details = {"decision": vote.decision, "comment": vote.comment, "on_behalf_of": vote.on_behalf_of}
        await self._save(EventKind.VOTE_COUNTED, words, actor=vote.voter, details=details)

    async def _cast(self, message: Message) -> Poll:
        now = workflow.time()
        if not message.known:
            return self._poll.refuse(message.name, Refusal.UNKNOWN_SIGNAL, now)
        ballot = message.read(Ballot)
        decision = Decision(message.name)
        if ballot is None or ballot.decision not in (None, decision):
            return self._poll.refuse(self._claimed(message), Refusal.MALFORMED, now)
        if ballot.token is None:
            return self._poll.cast(ballot, decision, None, now)
        verdict: VoteTokenVerdict = await workflow.execute_activity_method(
            Tokens.read_vote, TokenCheck(token=ballot.token), summary="check the vote's token", **RECORD
        )
        if verdict.claims is None:
            return self._poll.refuse(ballot.approver, verdict.refusal or Refusal.FORGED_TOKEN, now)
        return self._poll.cast(ballot, decision, verdict.claims, now)

    async def _delegate(self, message: Message) -> None:
        order = message.read(DelegationOrder)
        if order is None or order.token is None:
            self._poll = self._poll.refuse("", Refusal.MALFORMED, workflow.time())
            await self._save_refusal()
            return
        verdict: DelegationTokenVerdict = await workflow.execute_activity_method(
            Tokens.read_delegation, TokenCheck(token=order.token), summary="check the delegation", **RECORD
        )
        before, given = self._poll, verdict.delegation
        if given is None:
            reason = verdict.refusal or Refusal.FORGED_TOKEN
            self._poll = self._poll.refuse("", reason, workflow.time())
        else:
            self._poll = self._poll.delegate(given, workflow.time())
        if given is None or len(self._poll.delegations) == len(before.delegations):
            await self._save_refusal()
            return
        words = f"{given.delegator} lets {given.delegate} vote for him ({given.kind})"
        details = {"delegate": given.delegate, "kind": given.kind, "decision": given.decision}
        await self._save(EventKind.GATE_DELEGATED, words, actor=given.delegator, details=details)

    async def _amend(self, message: Message) -> None:
        amendment = message.read(NewDigest)
        if amendment is None:
            self._poll = self._poll.refuse(self._claimed(message), Refusal.MALFORMED, workflow.time())
            await self._save_refusal()
            return
        if amendment.digest == self._poll.plan:
            return
        void = ", ".join(vote.voter for vote in self._poll.votes) or "none"
        self._poll = self._poll.amend(amendment)
        words = f"changed by {amendment.actor or 'somebody'}; void are the votes of: {void}"
        details = {"digest": amendment.digest, "reason": amendment.reason}
        await self._save(EventKind.GATE_AMENDED, words, actor=amendment.actor, details=details)

    @staticmethod
    def _claimed(message: Message) -> str:
        """Whom a message says to be from, if it says so at all."""
        ballot = message.read(Ballot)
        return ballot.approver if ballot is not None else "" if message.known else message.name

    async def _save_refusal(self, result: GateResult | None = None) -> None:
        refusal = self._poll.refused[-1]
        words = f"a vote by {refusal.claimed or 'anonymous'} does not count: {refusal.reason}"
        await self._save(EventKind.VOTE_REFUSED, words, actor=refusal.claimed, result=result)

    async def _save(
        self,
        event: EventKind,
        words: str,
        *,
        actor: str | None = None,
        details: Mapping[str, object] | None = None,
        result: GateResult | None = None,
    ) -> None:
        """Write the poll down, with the event that tells what happened to it."""
        self._entries += 1
        entry = PollEntry(
            key=f"{self._request.gate}-{self._entries}",
            event=event,
            message=clip(words, 2000),
            actor=actor or None,
            details={"approval": self._request.gate, **(details or {})},
        )
        record = PollRecord(
            request=self._request, poll=self._poll, expires=self._expires, result=result, entry=entry
        )
        await workflow.execute_activity_method(Records.save_poll, record, summary=clip(event), **RECORD)

    def _show(self) -> None:
        workflow.set_current_details(approval_details(self._request, self._poll, self._expires))
        show_position(phase="waiting-approval", wave=None, waiting_for=self._poll.waits_for)

    @workflow.query(description="The gate, its votes and those that do not count.")
    def poll(self) -> Poll:
        """The poll as it stands."""
        return self._poll
