"""Shows a deployment until it ends: live view, plain lines or JSON frames. Its outcome is the exit code."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.live import Live

from cli.client import ApiClient
from cli.follow import Update, follow
from cli.frame import Frame
from cli.session import console
from cli.sse import ServerEvent
from cli.view import headline, render

TICK = 1.0  # seconds between two redraws when nothing happens

Watch = Annotated[
    bool, typer.Option("--watch", help="Live view until it ends; its outcome is the exit code.")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Stop watching after so many seconds (exit code 4).")
]
Frames = Annotated[bool, typer.Option("--json", help="One JSON document per change; the last has exit_code.")]


class Display(Protocol):
    """Something that shows updates as they come."""

    def show(self, update: Update) -> None:
        """Show one update."""


def watch(client: ApiClient, deployment: str, *, live: bool, as_json: bool, seconds: float | None) -> int:
    """Show a deployment until its end or for at most `seconds`; its exit code as the API has it."""
    updates = follow(client, deployment, seconds=seconds, tick=TICK)
    if as_json:
        return _show(updates, JsonFrames())
    if not (live and console.is_terminal):
        return _show(updates, Lines(console))
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="ellipsis") as area:
        return _show(updates, Picture(area))


def _show(updates: Iterable[Update], display: Display) -> int:
    code = 4
    for update in updates:
        display.show(update)
        code = int(update.deployment["exit_code"])
    return code


class Picture:
    """The live view, redrawn in place."""

    def __init__(self, area: Live) -> None:
        self._area = area

    def show(self, update: Update) -> None:
        """Redraw."""
        frame = Frame.of(update.deployment)
        self._area.update(render(frame, now=datetime.now().astimezone(), notice=update.notice), refresh=True)


class Lines:
    """One line per event, with its time: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._notice: str | None = None
        self._begun = False

    def show(self, update: Update) -> None:
        """Print what is new."""
        if not self._begun:
            self._line(
                datetime.now().astimezone(),
                headline(Frame.of(update.deployment), datetime.now().astimezone()),
            )
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
        self._line(at, f"{event.event}  {content['message']}{actor}")

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
