"""How many streams of events are open: each asks the database twice a second for as long as it lasts."""

from collections import Counter
from typing import Final

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from api.access import Caller
from domain.limits import TooManyRequests

RETRY_AFTER: Final = 10  # seconds
SEND_SECONDS: Final = 30.0  # until a reader that takes nothing is given up


class Streams:
    """The open streams of one process, by person and by tenant.

    Args:
        of_person: how many one person may have open.
        of_tenant: how many all people of a tenant together.
    """

    def __init__(self, of_person: int, of_tenant: int) -> None:
        self._most = (of_tenant, of_person)
        self._open: Counter[tuple[str, ...]] = Counter()

    def open(self, caller: Caller) -> tuple[tuple[str, ...], ...]:
        """Count one more; what to close when it ends.

        Raises:
            TooManyRequests: as many as may be are open.
        """
        counted = ((caller.tenant,), (caller.tenant, caller.username))
        for key, most in zip(counted, self._most, strict=True):
            if self._open[key] >= most:
                raise TooManyRequests(
                    f"at most {most} streams of events at once; close one first", retry_after=RETRY_AFTER
                )
        self._open.update(counted)
        return counted

    def close(self, counted: tuple[tuple[str, ...], ...]) -> None:
        """One has ended."""
        for key in counted:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


class CountedStream(EventSourceResponse):
    """A stream that counts until it has ended, however it ends."""

    def count(self, streams: Streams, caller: Caller) -> None:
        """Count it from now on; see `Streams.open`."""
        self._streams, self._counted = streams, streams.open(caller)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.close(self._counted)
