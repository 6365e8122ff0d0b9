"""One part of the stack: how it is started, how one knows that it is ready, how it is ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import HotswapError
from runtime.embedded.identity import ProcessId

_TAIL_BYTES = 4000
_TAIL_LINES = 25
_PRIVATE = "HOTSWAP_"


class StartFailed(HotswapError):
    """A part did not come up; the message has the end of its log."""

    code = "start-failed"


Ready = Callable[[ProcessId, float], Awaitable[bool]]
"""Asked with the part's process and the time it was started; answers whether it serves now."""


@dataclass(frozen=True)
class Part:
    """What to run, and the conditions around it.

    Attributes:
        name: in state, logs and tables.
        command: absolute program and arguments.
        log: its output is appended here.
        ready: the condition to wait for after each start.
        port: shown to people.
        environment: variables besides those of our own environment.
        ready_seconds: how long a start may take.
        stop_signal, stop_seconds: the polite end, and when SIGKILL follows.
        cleans_up: its end does work that must not be left out: if it is down when the stack stops, it is
            started once more to do it.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Ready
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    cleans_up: bool = False


class Child:
    """A process of a part, whether we started it or found it running."""

    def __init__(
        self, process: ProcessId, *, started: float, popen: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.process = process
        self.started = started
        self._popen = popen

    @classmethod
    def spawn(cls, part: Part) -> "Child":
        """Start the part in a session of its own, so that a Ctrl-C at our terminal is not its too."""
        part.log.parent.mkdir(parents=True, exist_ok=True)
        started = time.time()
        with part.log.open("ab") as log:
            popen = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=part.log.parent,
                env=child_environment(part.environment),
                start_new_session=True,
            )
        process = ProcessId.of(popen.pid) or ProcessId(pid=popen.pid, started=-1, boot="")
        return cls(process, started=started, popen=popen)

    def alive(self) -> bool:
        """Whether it runs; a child of ours that ended is reaped."""
        if self._popen is not None and self._popen.poll() is not None:
            return False
        return self.process.alive()

    async def gone(self) -> None:
        """Return when it has ended: a pidfd becomes readable then, for any process, not only for a child."""
        try:
            descriptor = os.pidfd_open(self.process.pid)
        except ProcessLookupError:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            if self.alive():
                await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self._popen.poll() if self._popen is not None else None
        if code is None:
            return "it is gone"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def python(*arguments: str) -> list[str]:
    """A command of this very Python. -P: a directory that happens to be called `store` is no package."""
    return [sys.executable, "-P", *arguments]


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment without our own settings, which are not the children's, and with `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    return {**inherited, **extra}


def tail(log: Path) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
