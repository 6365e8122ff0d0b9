"""What people order of a deployment under way, read from its inbox by the main coroutine."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from temporalio import workflow

from domain.command import CommandBody, CommandName, objection
from domain.deployment import Cause, CauseKind
from domain.events import EventKind
from domain.gate import Decision
from domain.messages import CommandTokenVerdict, TokenCheck
from workflows.board import Board
from workflows.deadline import Deadline
from workflows.inbox import Inbox, Message, Receives
from workflows.options import RECORD
from workflows.tasks import settle

with workflow.unsafe.imports_passed_through():
    from activities.orders import Tokens

GateHandle = workflow.ChildWorkflowHandle[Any, Any]


class Halted(Exception):
    """The rollout must not go on."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Commanded(Receives):
    """The signals of a deployment. Each only fills the inbox."""

    @workflow.signal(description='Pause at the next safe point: {"actor": "you", "reason": "why"}')
    def pause(self, body: Any = None, *extra: Any) -> None:
        """Start nothing further until resumed."""
        self.inbox.put(CommandName.PAUSE, body, extra)

    @workflow.signal(description='Resume: {"actor": "you", "reason": "why", "token": "…"}')
    def resume(self, body: Any = None, *extra: Any) -> None:
        """Go on after a pause."""
        self.inbox.put(CommandName.RESUME, body, extra)

    @workflow.signal(description='Skip the present bake, analysis or hold: {"actor": "you", "token": "…"}')
    def promote(self, body: Any = None, *extra: Any) -> None:
        """Skip the present wait; never a gate."""
        self.inbox.put(CommandName.PROMOTE, body, extra)

    @workflow.signal(description='Abort and roll back: {"actor": "you", "reason": "why"}')
    def abort(self, body: Any = None, *extra: Any) -> None:
        """Stop and take back what was changed."""
        self.inbox.put(CommandName.ABORT, body, extra)

    @workflow.signal(description='Passed on to the open gate: {"approver": "you", "token": "…"}')
    def approve(self, body: Any = None, *extra: Any) -> None:
        """A vote for the open gate."""
        self.inbox.put(Decision.APPROVE, body, extra)

    @workflow.signal(description='Passed on to the open gate: {"approver": "you", "comment": "why"}')
    def reject(self, body: Any = None, *extra: Any) -> None:
        """A vote against, for the open gate."""
        self.inbox.put(Decision.REJECT, body, extra)


class Controls:
    """Paused, promoted, aborted: what stands ordered, and by whom."""

    def __init__(self, deployment: str, inbox: Inbox, board: Board, deadline: Deadline) -> None:
        self._deployment = deployment
        self._inbox = inbox
        self._board = board
        self._deadline = deadline
        self._gate: GateHandle | None = None
        self._used_tokens: tuple[str, ...] = ()
        self._promoted = False
        self._aborted: Cause | None = None
        self.paused_by: str | None = None
        self.unsigned_allowed = False

    @property
    def paused(self) -> bool:
        """Whether nothing further may start."""
        return self.paused_by is not None

    @contextmanager
    def passing_votes_to(self, gate: GateHandle) -> Iterator[None]:
        """While the gate is open, votes sent to the deployment reach it."""
        self._gate = gate
        try:
            yield
        finally:
            self._gate = None

    async def attend(self, work: Awaitable[Any], *, skippable: bool = False) -> Any:
        """Do `work` while heeding orders: abort ends it at once; promote ends what is skippable.

        Returns None when it was skipped. Work that is cut off is waited for before anything else starts.

        Raises:
            Halted: aborted, or the time is up.
        """
        task = asyncio.ensure_future(work)
        self._promoted = False
        try:
            while not task.done() and not (skippable and self._promoted):
                await workflow.wait_condition(
                    lambda: task.done() or self._inbox.pending or self._deadline.rung
                )
                await self.read()
        except (asyncio.CancelledError, Halted):
            await settle(task)
            raise
        if task.done():
            return task.result()
        await settle(task)
        return None

    async def read(self) -> None:
        """Heed everything that came in, and the clock.

        Raises:
            Halted: one of the orders is to abort, or the time is up.
        """
        while (message := self._inbox.take()) is not None:
            if message.name in list(Decision) and message.known:
                await self._pass_on(message)
            else:
                await self._command(message)
        if self._aborted is not None:
            raise Halted(self._aborted)
        if self._deadline.rung:
            raise Halted(Cause(kind=CauseKind.DEADLINE, message="the deployment's deadline has passed"))

    async def _pass_on(self, vote: Message) -> None:
        if self._gate is None:
            await self._refuse(vote.name, "no gate is open")
            return
        await self._gate.signal(vote.name, vote.body)

    async def _command(self, message: Message) -> None:
        body = message.read(CommandBody)
        if body is None:
            why = "not an order of the form {actor, reason, token}" if message.known else "no such signal"
            await self._refuse(message.name, why)
            return
        command = CommandName(message.name)
        verdict = CommandTokenVerdict()
        if body.token is not None:
            verdict = await workflow.execute_activity_method(
                Tokens.read_command, TokenCheck(token=body.token), summary="check the token", **RECORD
            )
        why_not = verdict.refusal or objection(
            command,
            verdict.claims,
            deployment=self._deployment,
            unsigned_allowed=self.unsigned_allowed,
            used=self._used_tokens,
        )
        if why_not is not None:
            await self._refuse(f"{command} by {body.actor or 'anonymous'}", why_not)
            return
        if verdict.claims is not None:
            self._used_tokens = (*self._used_tokens, verdict.claims.token_id)[-100:]
        actor = verdict.claims.subject if verdict.claims else f"{body.actor or 'anonymous'} (unverified)"
        await self._obey(command, actor, body.reason)

    async def _obey(self, command: CommandName, actor: str, reason: str) -> None:
        words = f"{command} by {actor}{': ' + reason if reason else ''}"
        match command:
            case CommandName.PAUSE:
                self.paused_by = words
            case CommandName.RESUME:
                self.paused_by = None
            case CommandName.PROMOTE:
                self._promoted = True
            case CommandName.ABORT:
                self._aborted = Cause(kind=CauseKind.ABORTED, message=words, actor=actor)
        await self._board.notice(EventKind.COMMAND, words, actor=actor)

    async def _refuse(self, what: str, why: str) -> None:
        await self._board.notice(EventKind.SIGNAL_REFUSED, f"{what} does not count: {why}")
