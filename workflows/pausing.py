"""What a pause does to a rollout: it finishes what is under way and starts nothing before it is resumed.

Between two steps that is simple. Amid a wave the batches that are under way go on meanwhile, and the hands
that would take the next ones wait here, where people see why.
"""

from typing import Final

from temporalio import workflow

from domain.deployment import Phase
from workflows.board import Board
from workflows.controls import Controls
from workflows.deadline import Deadline
from workflows.holding import SHOWN_AMID_A_WAVE, FreezeHold

WHO_RESUMES: Final = "a person: resume or abort"


class PauseHold:
    """A pause amid a wave. `wanted` says that somebody has to show it, `on` that somebody does."""

    def __init__(self, board: Board, deadline: Deadline, controls: Controls, freeze: FreezeHold) -> None:
        self._board = board
        self._deadline = deadline
        self._controls = controls
        self._freeze = freeze
        self.on = False

    @property
    def wanted(self) -> bool:
        """Whether the rollout is paused, and neither shows it nor has another reason to start nothing."""
        return self._controls.paused and not (self._controls.stopping or self._freeze.on or self.on)

    async def until_resumed(self) -> None:
        """Hold until a person resumes, or another deployment takes this one's place. The time is people's."""
        if self.on or not workflow.patched(SHOWN_AMID_A_WAVE):
            await workflow.wait_condition(lambda: self._over)
            return
        self.on = True
        try:
            with self._deadline.held():
                while not self._over:
                    await self._show()
                    await workflow.wait_condition(lambda: self._over or self._hidden)
            if not (self._controls.stopping or self._freeze.on):
                await self._board.go_on()
        finally:
            self.on = False

    async def _show(self) -> None:
        words, wave = self._controls.paused_by or "", self._board.work.wave
        await self._board.enter(Phase.PAUSED, words, wave=wave, waiting_for=WHO_RESUMES)

    @property
    def _over(self) -> bool:
        return self._controls.stopping or not self._controls.paused

    @property
    def _hidden(self) -> bool:
        """Whether a freeze that has begun and ended meanwhile has left its own words."""
        return self._board.phase is not Phase.PAUSED and not self._freeze.on
