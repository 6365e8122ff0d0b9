"""What the agent must remember of modules, and the lines of its journal."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from domain.base import Frozen
from domain.manifest import Manifest
from domain.names import ModuleName
from domain.release import ReleaseRef
from domain.wire import Action, JournalEntry, Operation, OperationId, OperationResult


class Slot(Frozen):
    """An unpacked release: its directory is named by `name`, its manifest is the one that was verified."""

    release: ReleaseRef
    manifest: Manifest

    @property
    def name(self) -> str:
        """The directory's name below releases/: people read the version, the digest makes it unique."""
        return f"{self.release.version}-{self.release.digest[:12]}"


class Started(Frozen):
    """A process of a module. Boot id, pid and start ticks name it beyond doubt.

    Attributes:
        boot: the boot that it was started in.
        slot: the slot that it runs from.
        sockets: inode of each listening socket that it was given, by the socket's name.
        ready: whether it ever reported to be ready.
        restarts: how many crashes of this release came before it.
        beside: whether it may run beside the current release.
    """

    boot: str
    pid: int
    started: int
    slot: str
    sockets: dict[str, int] = Field(default_factory=dict)
    ready: bool = False
    restarts: int = 0
    beside: bool = False


class ModuleRecord(Frozen):
    """What cannot be read back from the node. Which slot is current is not here: the pointer on disk says so.

    Attributes:
        fence: the highest fence seen.
        slots: by name.
        ports: socket name → port, picked once.
        processes: those that were started and not seen to end.
    """

    module: ModuleName
    fence: int = 0
    slots: dict[str, Slot] = Field(default_factory=dict)
    previous: str | None = None
    staged: str | None = None
    ports: dict[str, int] = Field(default_factory=dict)
    processes: tuple[Started, ...] = ()

    def find(self, release: ReleaseRef) -> Slot | None:
        """The slot that holds a release."""
        return next((slot for slot in self.slots.values() if slot.release == release), None)

    def slot(self, name: str | None) -> Slot | None:
        """A slot by name."""
        return self.slots.get(name) if name is not None else None


class Order(Frozen):
    """An operation as the journal keeps it: without the signature."""

    id: OperationId
    action: Action
    module: ModuleName
    fence: int
    release: ReleaseRef | None

    @classmethod
    def of(cls, operation: Operation) -> "Order":
        """The journal's form of an operation."""
        return cls.model_validate(operation.model_dump(exclude={"signature"}))


class Began(Frozen):
    """Intent: written before anything changes. `origin` and `target` are slots; None is "not installed"."""

    kind: Literal["begin"] = "begin"
    order: Order
    origin: str | None
    target: str | None
    at: float


class Ended(Frozen):
    """Outcome: the result that repeats are answered with, and the module's record from now on."""

    kind: Literal["end"] = "end"
    order: Order
    result: OperationResult
    record: ModuleRecord

    def entry(self) -> JournalEntry:
        """As the control plane reads it."""
        return JournalEntry(
            **self.order.model_dump(), ok=self.result.ok, changed=self.result.changed, at=self.result.finished
        )


class Undone(Frozen):
    """A begun operation that a crash cut short and that was taken back: its id may be applied again."""

    kind: Literal["undone"] = "undone"
    id: OperationId


class Noted(Frozen):
    """A module's record, changed outside of an operation's end."""

    kind: Literal["note"] = "note"
    record: ModuleRecord


Line = Annotated[Began | Ended | Undone | Noted, Field(discriminator="kind")]
LINE: TypeAdapter[Line] = TypeAdapter(Line)
