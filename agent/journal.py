"""The node's memory: an append-only file, one JSON line per entry, synced before anything relies on it.

A crash can tear the last line only; a torn last line was never relied on and is cut off. Any other damage
is not a crash's work, and the agent does not start on it.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from agent.pool import Pool
from agent.records import LINE, Began, Ended, Line, ModuleRecord, Noted, Order, Undone
from domain.errors import NodeError
from domain.names import ModuleName
from domain.wire import JournalEntry, OperationId, OperationResult

Change = Callable[[ModuleRecord], ModuleRecord]

REMEMBERED = 500  # outcomes kept for repeats, the newest
COMPACT_AT = 2000  # lines in the file, after which it is rewritten with what is still needed


class JournalDamaged(NodeError):
    """A line before the last cannot be read; a person has to look."""

    code = "journal-damaged"


class Journal:
    """Outcomes, intents without outcome, and module records, all of which a restart finds again."""

    def __init__(self, path: Path, pool: Pool) -> None:
        self._path = path
        self._pool = pool
        self._lock = asyncio.Lock()
        self._file = -1
        self._size = 0
        self._lines = 0
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self.pending: dict[str, Began] = {}
        self.records: dict[ModuleName, ModuleRecord] = {}

    async def open(self) -> None:
        """Read everything back and cut a torn end off.

        Raises:
            JournalDamaged: a line before the last is unreadable.
        """
        await self._pool.run(self._open)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def record(self, module: ModuleName) -> ModuleRecord:
        """What is remembered of a module."""
        return self.records.get(module) or ModuleRecord(module=module)

    def ended(self, operation: str) -> Ended | None:
        """The recorded outcome of an operation, if it is not forgotten."""
        return self._ended.get(operation)

    def entries(self, module: ModuleName | None = None) -> Iterator[JournalEntry]:
        """The recorded operations, oldest first."""
        return (
            ended.entry() for ended in self._ended.values() if module is None or ended.order.module == module
        )

    async def begin(self, began: Began) -> None:
        """Write an intent; it is on the disk when this returns. So it is for the three below.

        Raises:
            OSError: the disk refused; the file and the memory are as before.
        """
        await self._append(lambda: began)

    async def end(self, order: Order, result: OperationResult, change: Change) -> None:
        """Write an outcome together with what it changes in the module's record."""
        await self._append(
            lambda: Ended(order=order, result=result, record=change(self.record(order.module)))
        )

    async def undo(self, operation: OperationId) -> None:
        """Take an intent back: the operation did not happen."""
        await self._append(lambda: Undone(id=operation))

    async def note(self, module: ModuleName, change: Change) -> None:
        """Change a module's record outside of an operation's end."""
        await self._append(lambda: Noted(record=change(self.record(module))))

    async def _append(self, line: Callable[[], Line]) -> None:
        # Shielded: an entry that began to be written is finished, whoever gave up waiting for it.
        await asyncio.shield(self._append_now(line))

    async def _append_now(self, make: Callable[[], Line]) -> None:
        async with self._lock:
            line = make()
            await self._pool.run(self._write, LINE.dump_json(line) + b"\n")
            self._apply(line)
            if self._lines >= COMPACT_AT:
                await self._pool.run(self._compact, list(self._needed()))

    def _open(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        lines = data.split(b"\n")
        torn = lines.pop()  # empty after a complete line
        good = len(data) - len(torn)
        for number, line in enumerate(lines):
            try:
                self._apply(LINE.validate_json(line))
            except ValidationError as error:
                if number + 1 < len(lines):
                    raise JournalDamaged(f"{self._path}: line {number + 1} cannot be read") from error
                good -= len(line) + 1
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if good != len(data):
            os.ftruncate(self._file, good)
        os.fsync(self._file)
        sync_directory(self._path.parent)
        self._size = good

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _apply(self, line: Line) -> None:
        self._lines += 1
        match line:
            case Began():
                self.pending[line.order.id] = line
                record = self.record(line.order.module)
                self.records[record.module] = raised(record, line.order.fence)
            case Ended():
                self.pending.pop(line.order.id, None)
                self._ended[line.order.id] = line
                while len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
                self.records[line.record.module] = line.record
            case Undone():
                self.pending.pop(line.id, None)
            case Noted():
                self.records[line.record.module] = line.record

    def _needed(self) -> Iterator[Line]:
        yield from self._ended.values()
        yield from self.pending.values()
        yield from (Noted(record=record) for record in self.records.values())

    def _compact(self, lines: Iterable[Line]) -> None:
        fresh = self._path.with_suffix(".new")
        data = b"".join(LINE.dump_json(line) + b"\n" for line in lines)
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_directory(self._path.parent)
        self.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._size = len(data)
        self._lines = data.count(b"\n")


def raised(record: ModuleRecord, fence: int) -> ModuleRecord:
    """The record with a fence at least this high."""
    return record if fence <= record.fence else record.model_copy(update={"fence": fence})


def sync_directory(directory: Path) -> None:
    """Make renames and removals in a directory durable: fsync(2) of the directory itself."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
