"""What runs now, written down at every change, so that the next command finds it after any crash."""

import json
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError

from domain.base import Frozen
from runtime.embedded.identity import ProcessId, this_process
from runtime.files import replace


class PartStatus(StrEnum):
    """Where a part stands."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to restart"
    STOPPED = "stopped"


class StackStatus(StrEnum):
    """Where the stack stands, as its supervisor last wrote it."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class PartState(Frozen):
    """One part: a process, or the place of one; `boot` is the boot in which this was written."""

    status: PartStatus
    boot: str
    process: ProcessId | None = None
    port: int | None = None
    restarts: int = 0
    log: Path


class StackState(Frozen):
    """The whole stack. `problem` says why it failed."""

    supervisor: ProcessId | None = None
    status: StackStatus = StackStatus.STOPPED
    problem: str = ""
    parts: dict[str, PartState] = Field(default_factory=dict)

    @property
    def supervised(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return self.supervisor is not None and self.supervisor.alive()

    @property
    def unfinished(self) -> bool:
        """Whether a part was started in this boot and not stopped, be its process alive or not."""
        boot = this_process().boot
        return any(
            part.boot == boot and part.status is not PartStatus.STOPPED for part in self.parts.values()
        )

    def survivors(self) -> dict[str, ProcessId]:
        """The parts' processes that still run, whoever supervises them."""
        known = {name: part.process for name, part in self.parts.items()}
        return {name: process for name, process in known.items() if process is not None and process.alive()}


def load(path: Path) -> StackState:
    """The state as last written; an empty one when there is none that can be read."""
    try:
        return StackState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return StackState()


def save(path: Path, state: StackState) -> None:
    """Write the state whole."""
    replace(path, json.dumps(state.model_dump(mode="json"), indent=2).encode())
