"""Following a deployment: its event stream where there is one, polling where there is not.

An API that dies and comes back, a proxy that cuts the stream, a laptop that sleeps: following goes on with
the event after the last one seen, and says meanwhile that it is trying.
"""

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tenacity import RetryError, Retrying, retry_if_exception_type, wait_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from cli.errors import Refused, Unreachable
from cli.sse import ServerEvent
from domain.base import Frozen
from domain.deployment import Phase
from domain.promotion import PromotionPhase

if TYPE_CHECKING:  # httpx is not loaded before somebody is asked
    from cli.client import ApiClient

AUTHORIZATION_ENDED = "authorization.ended"
REDRAW_GAP = 0.2  # seconds: never more often, however many events come
POLL_WITH_STREAM = 10.0  # seconds: a stream that lost an event must not leave the picture wrong for ever
POLL_WITHOUT_STREAM = 2.0
ENDS = frozenset(str(phase) for phase in (*Phase, *PromotionPhase) if phase.terminal)
LAST_EVENTS = (
    0.5  # seconds of silence after the end: its event, or all of one that ended long ago, come first
)


class Update(Frozen):
    """What is known now.

    Attributes:
        deployment: the API's answer to GET /deployments/{id}, or of what else is followed.
        events: what came in since the last update, oldest first.
        notice: why this may be out of date; None when it is fresh.
    """

    deployment: dict[str, Any]
    events: tuple[ServerEvent, ...] = ()
    notice: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self.deployment["phase"] in ENDS


class EventStream:
    """Reads one deployment's events in a thread of its own, reconnecting for as long as it is open."""

    def __init__(self, client: "ApiClient", path: str) -> None:
        self._client = client
        self._path = path
        self._events: queue.SimpleQueue[ServerEvent] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._last_id: str | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.connected = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._client.interrupt()
        self._thread.join(timeout=2.0)

    def take(self, patience: float) -> list[ServerEvent]:
        """What came in: at once when something is there, else after at most `patience` seconds."""
        try:
            taken = [self._events.get(timeout=patience)]
        except queue.Empty:
            return []
        while not self._events.empty():
            taken.append(self._events.get())
        return taken

    def _run(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type((Unreachable, Refused)),
            wait=wait_exponential(multiplier=0.1, max=2.0),
            stop=stop_when_event_set(self._stopped),
            sleep=sleep_using_event(self._stopped),
        )
        while not self._stopped.is_set():
            try:
                retrying(self._read)
            except RetryError:
                return
            self._stopped.wait(REDRAW_GAP)

    def _read(self) -> None:
        """One connection, to its end."""
        try:
            with self._client.events(self._path, after=self._last_id) as events:
                self.connected = True
                for event in events:
                    if event.event == AUTHORIZATION_ENDED:
                        return  # the next connection signs in again, or says why not
                    self._last_id = event.id or self._last_id
                    self._events.put(event)
        finally:
            self.connected = False


def follow(
    client: "ApiClient", subject: str, *, seconds: float | None, tick: float, kind: str = "deployments"
) -> Iterator[Update]:
    """Updates of a deployment, or of something else that has phases and events, the last one with its end.

    Args:
        client: whom to ask.
        subject: its id.
        kind: the list of the API that it is in.
        seconds: how long at most; None for as long as it takes.
        tick: an update comes at least this often (seconds), so that countdowns move.

    Raises:
        Unreachable: right at the start; later it is a notice.
        Refused: no such deployment, or not for this user.
    """
    path = f"/{kind}/{subject}"
    limit = None if seconds is None else time.monotonic() + seconds
    update = Update(deployment=client.get(path))
    yield update
    asked = time.monotonic()
    with EventStream(client, f"{path}/events") as stream:
        while not update.ended and (limit is None or time.monotonic() < limit):
            began = time.monotonic()
            events = stream.take(tick if limit is None else max(0.0, min(tick, limit - began)))
            due = POLL_WITH_STREAM if stream.connected else POLL_WITHOUT_STREAM
            notice = update.notice
            state = update.deployment
            if events or notice or time.monotonic() - asked >= due:
                state, notice = _look(client, path, state)
                asked = time.monotonic()
            update = Update(deployment=state, events=tuple(events), notice=notice)
            yield update
            time.sleep(max(0.0, REDRAW_GAP - (time.monotonic() - began)))
        while update.ended and (late := stream.take(LAST_EVENTS)):
            yield update.model_copy(update={"events": tuple(late)})


def _look(client: "ApiClient", path: str, before: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    try:
        return client.get(path), None
    except Unreachable as error:
        return before, f"{error.message}; trying again"
