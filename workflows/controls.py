"""What people order of a deployment under way, read from its inbox by the main coroutine."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from temporalio import workflow

from domain.arrival import SupersedeMode
from domain.command import CommandName
from domain.deployment import Cause, CauseKind
from domain.events import EventKind
from domain.freeze_orders import FreezeOrder
from domain.messages import DeploymentInput, Successor
from domain.names import SUPERSEDE
from domain.vote import Decision
from workflows.amending import Amending, GateHandle
from workflows.authority import Authority, Refused
from workflows.board import Board
from workflows.deadline import Deadline
from workflows.inbox import Inbox, Message, Receives
from workflows.options import RECORD
from workflows.tasks import settle

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records


class Halted(Exception):
    """The rollout must not go on."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Superseded(Halted):
    """Another deployment takes this one's place. `stays`: from where it stands, without a rollback."""

    def __init__(self, successor: Successor) -> None:
        super().__init__(Cause(kind=CauseKind.SUPERSEDED, message=successor.words))
        self.stays = successor.mode is SupersedeMode.ROLL_FORWARD


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

    @workflow.signal(
        description='Change what is still to come: {"actor": "you", "changes": {…}, "token": "…"}'
    )
    def amend(self, body: Any = None, *extra: Any) -> None:
        """Another plan for the steps that have not begun."""
        self.inbox.put(CommandName.AMEND, body, extra)

    @workflow.signal(description="Another deployment may take this one's place. Look who.")
    def supersede(self, body: Any = None, *extra: Any) -> None:
        """Wake up: the store may have a successor."""
        self.inbox.put(SUPERSEDE, body, extra)

    @workflow.signal(description="The environment may have thawed. Look again.")
    def thaw(self, body: Any = None, *extra: Any) -> None:
        """Wake up: what held the rollout may be over."""
        self.inbox.put(FreezeOrder.THAW, body, extra)

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

    def __init__(
        self,
        request: DeploymentInput,
        inbox: Inbox,
        board: Board,
        deadline: Deadline,
        amending: Amending,
    ) -> None:
        self._request = request
        self._inbox = inbox
        self._board = board
        self._deadline = deadline
        self._amending = amending
        self._promoted = False
        self._aborted: Cause | None = None
        self.authority = Authority(request.deployment)
        self.alarm: Cause | None = None
        self.paused_by: str | None = None
        self.resumes = 0
        self.thaws = 0
        self.successor: Successor | None = None

    @property
    def paused(self) -> bool:
        """Whether nothing further may start."""
        return self.paused_by is not None

    @property
    def stopping(self) -> bool:
        """Whether the rollout makes room for another: no further batch starts."""
        return self.successor is not None

    @property
    def alarmed(self) -> bool:
        """Whether the background analysis says that the rollout must turn back."""
        return self.alarm is not None

    @contextmanager
    def passing_votes_to(self, gate: GateHandle) -> Iterator[None]:
        """While the gate is open, votes sent to the deployment reach it."""
        self._amending.open_gate = gate
        try:
            yield
        finally:
            self._amending.open_gate = None

    async def attend(self, work: Awaitable[Any], *, skippable: bool = False, finish: bool = False) -> Any:
        """Do `work` while heeding orders: abort ends it at once; promote ends what is skippable.

        What is to `finish` is not cut off to make room for a successor that goes on from there.

        Returns None when it was skipped. Work that is cut off is waited for before anything else starts.

        Raises:
            Halted: aborted, or the time is up.
        """
        task = asyncio.ensure_future(work)
        self._promoted = False
        try:
            while not task.done() and not (skippable and self._promoted):
                await workflow.wait_condition(lambda: task.done() or self._called)
                await self.read(finish=finish)
        except (asyncio.CancelledError, Halted):
            await settle(task)
            raise
        if task.done():
            return task.result()
        await settle(task)
        return None

    @property
    def _called(self) -> bool:
        """Whether something wants to be heeded."""
        return self._inbox.pending or self._deadline.rung or self.alarmed or self._amending.decided

    async def read(self, *, finish: bool = False) -> None:
        """Heed everything that came in, and the clock.

        Raises:
            Halted: one of the orders is to abort, another deployment takes its place, the background
                analysis fails, or the time is up.
        """
        while (message := self._inbox.take()) is not None:
            if message.known and message.name == FreezeOrder.THAW:
                self.thaws += 1
            elif message.known and message.name == SUPERSEDE:
                self.successor = await self._find_successor()
            elif message.name in list(Decision) and message.known:
                await self._pass_on(message)
            else:
                await self._command(message)
        await self._amending.settle()
        if self._aborted is not None:
            raise Halted(self._aborted)
        if self.alarm is not None:
            raise Halted(self.alarm)
        if self.successor is not None:
            superseded = Superseded(self.successor)
            if not (finish and superseded.stays):
                raise superseded
        if self._deadline.rung:
            raise Halted(Cause(kind=CauseKind.DEADLINE, message="the deployment's deadline has passed"))

    async def _find_successor(self) -> Successor | None:
        """The signal only says "look": who takes this one's place is in the store."""
        if self.successor is not None:
            return self.successor
        found: Successor | None = await workflow.execute_activity_method(
            Records.successor_of, self._request, summary="who takes its place", **RECORD
        )
        if found is not None:
            await self._board.notice(EventKind.COMMAND, f"{found.words}, {found.mode}")
        return found

    async def _pass_on(self, vote: Message) -> None:
        gate = self._amending.open_gate or self._amending.approval
        if gate is None:
            refused = Refused(what=vote.name, why="no gate is open")
            await self._board.notice(EventKind.SIGNAL_REFUSED, refused.words)
            return
        await gate.signal(vote.name, vote.body)

    async def _command(self, message: Message) -> None:
        order = await self.authority.check(message)
        if isinstance(order, Refused):
            await self._board.notice(EventKind.SIGNAL_REFUSED, order.words)
            return
        match order.command:
            case CommandName.PAUSE:
                self.paused_by = order.words
            case CommandName.RESUME:
                self.paused_by = None
                self.resumes += 1
            case CommandName.PROMOTE:
                self._promoted = True
            case CommandName.ABORT:
                self._aborted = Cause(kind=CauseKind.ABORTED, message=order.words, actor=order.actor)
        await self._board.notice(EventKind.COMMAND, order.words, actor=order.actor)
        if order.command is CommandName.AMEND:
            await self._amending.take(order)
