"""What every driver can do, and what the drivers share of the node."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.bundle_store import BundleStore
from agent.config import AgentConfig
from agent.journal import Journal
from agent.metrics import AgentMetrics
from agent.pool import Pool
from agent.probe import Prober
from agent.records import Slot
from domain.manifest import Metrics, Probe
from domain.wire import ModuleState, RunningProcess

Point = Callable[[Slot | None], Awaitable[None]]  # moves the module's pointer


@dataclass(frozen=True, slots=True)
class Host:
    """What the modules of one agent share."""

    config: AgentConfig
    boot: str
    pool: Pool
    journal: Journal
    bundles: BundleStore
    prober: Prober
    metrics: AgentMetrics


@dataclass(frozen=True, slots=True)
class Observation:
    """What a driver sees now. A process comes without its tree hash; the module adds that."""

    state: ModuleState
    process: RunningProcess | None = None
    endpoints: dict[str, str] = field(default_factory=dict)
    healthy: bool | None = None
    beside: "Beside | None" = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A running process to take samples of."""

    version: str
    pid: int
    started: int  # clock ticks since boot
    instance: str
    probe: Probe | None
    probe_url: str | None
    metrics: Metrics | None
    metrics_url: str | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What a driver sees of a second instance; its process comes without the tree hash, as above."""

    slot: Slot
    process: RunningProcess | None
    endpoints: dict[str, str]
    healthy: bool | None


class Driver(Protocol):
    """Swaps one module. Calls that change something are never made at the same time."""

    async def switch(self, target: Slot, origin: Slot | None, point: Point, *, keep: bool = False) -> None:
        """Make `target` run instead of `origin` and move the pointer, at the moment that it is safe to.

        Where `target` runs beside already it only has to be let in. With `keep`, `origin` is left running
        beside afterwards, if it can be.

        Raises:
            ModuleNotReady: `origin` is still what runs, and what the pointer says.
        """

    async def start(self, target: Slot) -> bool:
        """Run `target` beside the current release, where the public does not reach it; whether that is new.

        Raises:
            ModuleNotReady: it does not get ready; nothing of it is left.
            Conflict: programs like this cannot run beside themselves.
        """

    async def smoke(self, target: Slot) -> None:
        """Check `target`, which runs beside or is current, as its manifest says.

        Raises:
            SmokeFailed: it fails a check.
            NotStaged: it does not run beside.
        """

    async def settle(self) -> bool:
        """End what runs beside the current release; whether there was something."""

    async def resume(self, slot: Slot | None) -> None:
        """After a start of the agent: adopt what runs, let only `slot` go on, start it if it does not run."""

    async def confirm(self, slot: Slot) -> None:
        """Complete a switch to `slot` that a crash of the agent interrupted after the pointer had moved.

        Raises:
            ModuleNotReady: it does not get ready.
        """

    async def stop(self) -> None:
        """Stop all that runs."""

    async def close(self) -> None:
        """Let go of the module; what runs goes on."""

    async def observe(self, slot: Slot | None) -> Observation:
        """Look at what there is, where `slot` is the one behind the pointer."""

    def subject(self) -> Subject | None:
        """What to take samples of; None when nothing runs, or two processes overlap."""

    async def tidy(self) -> None:
        """Keep what grows with time within its bounds."""
