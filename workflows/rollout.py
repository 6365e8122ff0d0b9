"""What the steps of one deployment share: its request, board and clock, what people order, what failed."""

from collections.abc import Awaitable
from typing import Any

from temporalio import workflow
from temporalio.common import TypedSearchAttributes

from domain.messages import DeploymentInput
from domain.names import NodeName
from domain.plan import Plan
from workflows.amending import Amending
from workflows.attributes import of_deployment
from workflows.board import Board
from workflows.chronicle import Chronicle
from workflows.controls import Controls
from workflows.deadline import Deadline
from workflows.holding import FreezeHold
from workflows.inbox import Inbox
from workflows.losses import Losses
from workflows.pausing import PauseHold


class Rollout:
    """One deployment under way.

    `fence` orders its node operations after those of every earlier deployment; `losses` are the nodes that
    did not do as ordered and that later steps leave alone; `began` is when the first node was to change.
    `renewed_at` is when the first node was restarted for a fresh baseline, `not_renewed` are those where that
    failed.
    """

    def __init__(self, request: DeploymentInput, inbox: Inbox) -> None:
        self.request = request
        self.board = Board(
            Chronicle(tenant=request.tenant, deployment=request.deployment, series="deployment")
        )
        self.deadline = Deadline()
        self.amending = Amending(request, self.board, self.deadline)
        self.controls = Controls(request, inbox, self.board, self.deadline, self.amending)
        self.hold = FreezeHold(request, self.board, self.deadline, self.controls)
        self.pause = PauseHold(self.board, self.deadline, self.controls, self.hold)
        self.fence = 0
        self.began: float | None = None
        self.losses = Losses(request.tenant, request.deployment)
        self.renewed_at: float | None = None
        self.not_renewed: tuple[NodeName, ...] = ()

    async def attend(self, work: Awaitable[Any], *, skippable: bool = False, finish: bool = False) -> Any:
        """Do `work` while heeding what people order; see Controls.attend."""
        return await self.controls.attend(work, skippable=skippable, finish=finish)

    async def may_start(self) -> None:
        """Wait until hands may go on to the next batch: neither a person nor a freeze is against it.

        A rollout that makes room for another goes on too: to find that nothing further is to be done.
        """
        while True:
            await workflow.wait_condition(lambda: self._free or self.pause.wanted)
            if self._free:
                return
            await self.pause.until_resumed()

    @property
    def _free(self) -> bool:
        return self.controls.stopping or not (self.controls.paused or self.pause.on or self.hold.on)

    def able(self, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
        """Those that are not lost."""
        return tuple(name for name in nodes if name not in self.losses.lost)

    def changed_by(self, plan: Plan, wave: int) -> tuple[NodeName, ...]:
        """The nodes that run the release once this wave is through."""
        return self.able(plan.changed_by(wave))

    @property
    def attributes(self) -> TypedSearchAttributes:
        """What is known of every workflow of this deployment when it is started."""
        return of_deployment(self.request)
