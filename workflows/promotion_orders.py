"""What people order of a promotion. It is passed on to the deployment that is under way."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import TemporalError

from domain.command import CommandName
from domain.deployment import Cause, CauseKind
from domain.events import EventKind
from domain.names import deployment_workflow_id, promotion_workflow_id
from domain.promotion_messages import PromotionCommand, PromotionInput, Standing, WithdrawOrder
from workflows.authority import Authority, Ordered, Refused
from workflows.inbox import Inbox, Message, Receives
from workflows.options import RECORD
from workflows.promotion_board import PromotionBoard

with workflow.unsafe.imports_passed_through():
    from activities.promotion_orders import Promotions

LOOK_AGAIN = "look"


class PromotionCommanded(Receives):
    """The signals of a promotion. Each only fills the inbox."""

    @workflow.signal(description='Start nothing further, pause what runs: {"actor": "you", "reason": "why"}')
    def pause(self, body: Any = None, *extra: Any) -> None:
        """Hold the promotion and the deployment under way."""
        self.inbox.put(CommandName.PAUSE, body, extra)

    @workflow.signal(description='Go on: {"actor": "you", "token": "…", "deployment_token": "…"}')
    def resume(self, body: Any = None, *extra: Any) -> None:
        """Go on after a pause."""
        self.inbox.put(CommandName.RESUME, body, extra)

    @workflow.signal(description='Stop, abort what runs: {"actor": "you", "reason": "why"}')
    def abort(self, body: Any = None, *extra: Any) -> None:
        """Stop; the environments before are kept or rolled back as the promotion says."""
        self.inbox.put(CommandName.ABORT, body, extra)

    @workflow.signal(description="A deployment of this promotion has ended. Look again.")
    def look(self, body: Any = None, *extra: Any) -> None:
        """Wake up: the store has something new."""
        self.inbox.put(LOOK_AGAIN, body, extra)


class PromotionOrders:
    """Paused, aborted: what stands ordered, and by whom."""

    def __init__(self, request: PromotionInput, inbox: Inbox, board: PromotionBoard) -> None:
        self._tenant = request.tenant
        self._inbox = inbox
        self._board = board
        self.authority = Authority(promotion_workflow_id(request.promotion))
        self.under_way: Standing | None = None
        self.withdrawn: str | None = None
        self.turning_back = False
        self.paused_by: str | None = None
        self.aborted: Cause | None = None

    @property
    def pending(self) -> bool:
        """Whether something came in that was not read yet."""
        return self._inbox.pending

    async def read(self) -> None:
        """Heed everything that came in."""
        while (message := self._inbox.take()) is not None:
            if not (message.known and message.name == LOOK_AGAIN):
                await self._command(message)

    async def _command(self, message: Message) -> None:
        order = await self.authority.check(message)
        if isinstance(order, Ordered) and self.turning_back:
            order = Refused(what=order.words, why="the promotion is on its way back")
        if isinstance(order, Refused):
            await self._board.notice(EventKind.PROMOTION_SIGNAL_REFUSED, order.words)
            return
        match order.command:
            case CommandName.PAUSE:
                self.paused_by = order.words
            case CommandName.RESUME:
                self.paused_by = None
            case CommandName.ABORT:
                self.aborted = Cause(kind=CauseKind.ABORTED, message=order.words, actor=order.actor)
        await self._board.notice(EventKind.PROMOTION_COMMAND, order.words, actor=order.actor)
        await self._pass_on(order, message)

    async def _pass_on(self, order: Ordered, message: Message) -> None:
        """What holds for the promotion holds for its deployment; one that still waits is withdrawn."""
        running = self.under_way
        if running is None or running.phase.terminal:
            return
        if order.command is not CommandName.RESUME and await self._withdraw(running, order):
            return
        whole = message.read(PromotionCommand) or PromotionCommand()
        body = {"actor": order.actor, "reason": order.body.reason, "token": whole.deployment_token}
        await self._signal(running, order.command, {key: value for key, value in body.items() if value})

    async def _withdraw(self, running: Standing, order: Ordered) -> bool:
        cause = Cause(kind=CauseKind.ABORTED, message=f"{order.words}: withdrawn", actor=order.actor)
        key = WithdrawOrder(tenant=self._tenant, deployment=running.deployment, cause=cause)
        withdrawn: bool = await workflow.execute_activity_method(
            Promotions.withdraw_stage, key, summary=f"withdraw {key.deployment} if it still waits", **RECORD
        )
        if withdrawn:
            self.withdrawn = key.deployment
        return withdrawn

    async def _signal(self, running: Standing, command: CommandName, body: dict[str, str]) -> None:
        page = deployment_workflow_id(running.deployment)
        try:
            await workflow.get_external_workflow_handle(page).signal(command, body)
        except TemporalError as error:
            words = f"{command} does not reach {page}: {error}"
            await self._board.notice(EventKind.PROMOTION_SIGNAL_REFUSED, words)

    async def abort_under_way(self, cause: Cause) -> None:
        """Stop what is under way because the promotion itself ends."""
        running = self.under_way
        if running is None or running.phase.terminal:
            return
        order = Ordered(command=CommandName.ABORT, actor=cause.actor or "", body=PromotionCommand())
        if not await self._withdraw(running, order):
            await self._signal(running, CommandName.ABORT, {"reason": cause.message})
