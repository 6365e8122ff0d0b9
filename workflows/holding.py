"""What a freeze does to a rollout under way: it finishes the nodes it is on, holds, and goes on by itself.

The hands ask the store before they start a node, so a freeze needs nobody to tell the rollout; they hand
back what they did not start. Then the rollout waits here, by one durable timer.
"""

from typing import Final

from temporalio import workflow

from domain.deployment import Phase
from domain.freeze import Freeze
from domain.freeze_orders import FreezeQuestion
from domain.messages import DeploymentInput
from workflows.board import Board
from workflows.controls import Controls
from workflows.deadline import Deadline
from workflows.options import RECORD
from workflows.tasks import within

with workflow.unsafe.imports_passed_through():
    from activities.orders import Freezes

# The clock that the hands ask may be a little behind the one that timers run by.
SHORTEST_WAIT = 1.0
# Before, a rollout that was paused amid a wave did not say so, and its own time ran on.
SHOWN_AMID_A_WAVE: Final = "a-pause-amid-a-wave-is-shown"
# Before, a thaw that came while the store was asked about the freeze was not heard.
HEARD_AMID_A_LOOK: Final = "a-thaw-amid-a-look-is-heard"


class FreezeHold:
    """Whether a freeze holds the rollout; `on` says that no node may start."""

    def __init__(
        self, request: DeploymentInput, board: Board, deadline: Deadline, controls: Controls
    ) -> None:
        self._request = request
        self._board = board
        self._deadline = deadline
        self._controls = controls
        self._heard = 0  # the thaws that came before the last look at the freeze began
        self.on = False

    async def until_thawed(self, freeze: Freeze) -> None:
        """Hold until the freeze is over: it ended, or was lifted. The time is people's, not the rollout's."""
        if self.on:
            await workflow.wait_condition(lambda: not self.on)
            return
        self.on = True
        before = self._board.work
        present: Freeze | None = freeze
        try:
            with self._deadline.held():
                while present is not None and not self._controls.stopping:
                    words = f"until {before.phase} may go on"
                    await self._board.enter(
                        Phase.FROZEN, present.words, wave=before.wave, waiting_for=f"{present.end}, {words}"
                    )
                    await self._wait(present)
                    present = await self._look()
        finally:
            self.on = False
        paused = self._controls.paused and workflow.patched(SHOWN_AMID_A_WAVE)
        if not (self._controls.stopping or paused):
            await self._board.go_on()

    async def _wait(self, freeze: Freeze) -> None:
        thaws = self._heard if workflow.patched(HEARD_AMID_A_LOOK) else self._controls.thaws
        left = None
        if freeze.until is not None:
            left = max(SHORTEST_WAIT, freeze.until - workflow.time())
        await within(
            left, lambda: self._controls.thaws != thaws or self._controls.stopping, f"frozen {freeze.end}"
        )

    async def _look(self) -> Freeze | None:
        self._heard = self._controls.thaws
        question = FreezeQuestion(
            tenant=self._request.tenant,
            environment=self._request.environment,
            deployment=self._request.deployment,
            at=workflow.time(),
        )
        return await workflow.execute_activity_method(
            Freezes.may_start, question, summary="is it frozen still", **RECORD
        )
