"""What many requests want to know at the same moment is asked for once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")
Question = Callable[[], Coroutine[Any, Any, Answer]]


class Together(Generic[Answer]):
    """Questions that are under way, by name; whoever comes meanwhile gets the same answer, or error.

    All who wait go on at the same moment. (A lock would let them through one by one, each a turn of the event
    loop later, while newcomers pass.)
    """

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[Answer]] = {}

    async def ask(self, name: str, question: Question[Answer]) -> Answer:
        """The answer; who stops waiting for it takes it from nobody else."""
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.create_task(self._answer(name, question))
            task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _answer(self, name: str, question: Question[Answer]) -> Answer:
        try:
            return await question()
        finally:
            del self._asked[name]


def _heard(task: asyncio.Task[Any]) -> None:
    """An error counts as heard, even if all who asked have gone away meanwhile."""
    if not task.cancelled():
        task.exception()
