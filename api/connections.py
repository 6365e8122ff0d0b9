"""Connections of clients that take their time: the server waits for a request so long, and no longer.

uvicorn ends idle connections between requests only; one that never sends a whole request, or sends it byte
by byte, would be kept for ever ("slow loris").
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 with time-outs for what a client sends; a connection that is too slow is closed.

    Attributes:
        head_seconds: until the head of the first request, or of one that has begun, is there.
        body_seconds: how often the body is looked at; by then it has ended, or `body_bytes` more have come.
    """

    head_seconds: ClassVar[float] = 15.0
    body_seconds: ClassVar[float] = 30.0
    body_bytes: ClassVar[int] = 32 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: object = None
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._wait_for(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        self._received += len(data)
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Wait for what comes next: the head and the body have a time each, which no byte prolongs."""
        state = self.conn.their_state
        if state is not self._waits_for:
            self._wait_for(state if state in (h11.IDLE, h11.SEND_BODY) else None)

    def _wait_for(self, state: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._waits_for = None, state
        if state is h11.IDLE:
            self._timer = self.loop.call_later(self.head_seconds, self._too_slow)
        elif state is h11.SEND_BODY:
            self._received = 0
            self._timer = self.loop.call_later(self.body_seconds, self._look_at_body)

    def _look_at_body(self) -> None:
        if self.flow.read_paused or self._received >= self.body_bytes:  # paused: it waits for us
            self._wait_for(h11.SEND_BODY)
        else:
            self._too_slow()

    def _too_slow(self) -> None:
        self._wait_for(None)
        self.transport.close()
