"""Signals never break a workflow: handlers only put what came into the inbox.

A typed handler that gets no argument or two sticks the workflow task for ever, and one that raises fails
the workflow. So handlers take `(self, body: Any = None, *extra: Any)` and call `put`; the main coroutine
takes, validates, and shows what it refuses. One dynamic handler catches misspelt names.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.common import RawValue

Model = TypeVar("Model", bound=BaseModel)

CAPACITY = 1000  # far above what people send; a flood is dropped rather than kept in history for ever


class Message:
    """One signal as it came: its name, the body, and how many arguments too many."""

    def __init__(self, name: str, body: Any, extra: int, *, known: bool) -> None:
        self.name = name
        self.body = body
        self.extra = extra
        self.known = known

    def read(self, model: type[Model]) -> Model | None:
        """The body as `model`; None when it is not one. No body at all reads as an empty object."""
        if self.extra or not self.known:
            return None
        try:
            return model.model_validate({} if self.body is None else self.body)
        except ValidationError:
            return None


class Inbox:
    """What came in and was not looked at yet, in order."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()

    def put(self, name: str, body: Any, extra: Sequence[Any]) -> None:
        """Keep a signal of a declared name. Never raises."""
        if len(self._messages) < CAPACITY:
            self._messages.append(Message(name, body, len(extra), known=True))

    def put_unknown(self, name: str) -> None:
        """Keep the name of a signal that nobody declared. Never raises."""
        if len(self._messages) < CAPACITY:
            self._messages.append(Message(name, None, 0, known=False))

    @property
    def pending(self) -> bool:
        """Whether something waits to be read."""
        return bool(self._messages)

    def take(self) -> Message | None:
        """The oldest message, once; None when there is none."""
        return self._messages.popleft() if self._messages else None


class Receives:
    """A workflow with an inbox; misspelt signals land there too."""

    inbox: Inbox

    @workflow.signal(dynamic=True, description="Catches signals of any other name, to show them.")
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal that this workflow does not have."""
        self.inbox.put_unknown(name)
