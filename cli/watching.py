"""Shows a deployment until it ends: live view, plain lines or JSON frames. Its outcome is the exit code."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from cli.follow import Update, follow
from cli.frame import Frame
from cli.session import console, errors
from cli.sse import ServerEvent
from cli.view import headline, render
from domain.events import EventKind

if TYPE_CHECKING:  # httpx is not loaded before somebody is asked
    from cli.client import ApiClient

STILL_UNDER_WAY = 4  # the exit code of domain.deployment.exit_code for what has not ended
PHASES = (EventKind.PHASE, EventKind.PROMOTION_PHASE)
BROKEN_OFF = 130  # as shells have it of a program that Ctrl-C has ended
TICK = 1.0  # seconds between two redraws when nothing happens

Watch = Annotated[
    bool, typer.Option("--watch", help="Live view until it ends; its outcome is the exit code.")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Stop watching after so many seconds (exit code 4).")
]
Frames = Annotated[bool, typer.Option("--json", help="One JSON document per change; the last has exit_code.")]


Show = Callable[[Update], None]


@dataclass(frozen=True)
class Picture:
    """How something that is followed looks: the list of the API it is in, its first line, and all of it.

    `command` is how to come back to it.
    """

    kind: str
    command: str
    headline: Callable[[dict[str, Any], datetime], str]
    render: Callable[[dict[str, Any], datetime, str | None], RenderableType]


DEPLOYMENT = Picture(
    kind="deployments",
    command="hotswap watch",
    headline=lambda answer, now: headline(Frame.of(answer), now),
    render=lambda answer, now, notice: render(Frame.of(answer), now=now, notice=notice),
)


def watch(
    client: "ApiClient",
    subject: str,
    *,
    live: bool,
    as_json: bool,
    seconds: float | None,
    picture: Picture = DEPLOYMENT,
) -> int:
    """Show it until its end or for at most `seconds`; its exit code as the API has it, or that of Ctrl-C."""
    code = STILL_UNDER_WAY
    try:
        with nullcontext(JsonFrames().show) if as_json else for_people(picture, live=live) as show:
            for update in follow(client, subject, kind=picture.kind, seconds=seconds, tick=TICK):
                show(update)
                code = int(update.deployment["exit_code"])
    except KeyboardInterrupt:
        errors.print(f"\nno longer watching; it goes on: {picture.command} {subject}")
        return BROKEN_OFF
    return code


@contextmanager
def for_people(picture: Picture = DEPLOYMENT, *, live: bool) -> Iterator[Show]:
    """The live view, redrawn in place, where there is a terminal and it is wanted; else lines."""
    if not (live and console.is_terminal):
        yield Lines(console, picture).show
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as area:

        def redraw(update: Update) -> None:
            seen = picture.render(update.deployment, datetime.now().astimezone(), update.notice)
            area.update(seen, refresh=True)

        yield redraw


class Lines:
    """One line per event, with its time: for logs and pipes."""

    def __init__(self, console: Console, picture: Picture = DEPLOYMENT) -> None:
        self._console = console
        self._picture = picture
        self._notice: str | None = None
        self._begun = False

    def show(self, update: Update) -> None:
        """Print what is new."""
        if not self._begun:
            now = datetime.now().astimezone()
            self._line(now, self._picture.headline(update.deployment, now))
            self._begun = True
        for event in update.events:
            self._event(event)
        if update.notice and not self._notice:
            self._line(datetime.now().astimezone(), update.notice)
        self._notice = update.notice

    def _event(self, event: ServerEvent) -> None:
        content = json.loads(event.data)
        at = datetime.fromisoformat(content["at"]).astimezone()
        actor = f" ({content['actor']})" if content.get("actor") else ""
        what = content["phase"] if event.event in PHASES else event.event
        self._line(at, f"{what:<22}  {content['message']}{actor}")

    def _line(self, at: datetime, words: str) -> None:
        self._console.print(f"{at:%H:%M:%S}  {words}", markup=False)


class JsonFrames:
    """The deployment as the API has it, one line per change (newline-delimited JSON)."""

    def __init__(self) -> None:
        self._last: dict[str, Any] | None = None

    def show(self, update: Update) -> None:
        """Print it when it differs from the one before."""
        if update.deployment != self._last:
            typer.echo(json.dumps(update.deployment, ensure_ascii=False))
            self._last = update.deployment
