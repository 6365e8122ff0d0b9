"""One module on this node: its slots, its driver, its samples, and what of it is left after a crash."""

import asyncio
import logging
import time

from agent.drivers.base import Beside, Driver, Host, Observation
from agent.drivers.files import FilesDriver
from agent.drivers.process import ProcessDriver
from agent.records import Began, ModuleRecord, Order, Slot
from agent.samples import Sampler, SampleRing
from agent.slots import ModuleDirectory
from agent.stage import tree_on_disk
from domain.errors import HotswapError
from domain.names import ModuleName
from domain.release import Kind
from domain.wire import (
    Action,
    BesideReport,
    Fault,
    ModuleReport,
    ModuleState,
    OperationResult,
    RunningProcess,
    Sample,
)

_log = logging.getLogger(__name__)


class Module:
    """All changes are made under `lock`."""

    def __init__(self, name: ModuleName, host: Host) -> None:
        self.name = name
        self.host = host
        self.lock = asyncio.Lock()
        self.directory = ModuleDirectory(host.config.directory.absolute() / "modules" / name)
        self._driver: Driver | None = None
        self._sampler: Sampler | None = None
        self._ring = SampleRing()

    @property
    def record(self) -> ModuleRecord:
        """What is remembered of it."""
        return self.host.journal.record(self.name)

    async def current(self) -> Slot | None:
        """The slot behind the pointer, read from the disk."""
        return self.record.slot(await self.host.pool.run(self.directory.current))

    async def driver(self, kind: Kind) -> Driver:
        """The driver of the module's kind, made when it is first needed."""
        if self._driver is None:
            await self.host.pool.run(self.directory.prepare)
            if kind is Kind.PROCESS:
                self._driver = ProcessDriver(self.name, self.host, self.directory)
                self._sampler = Sampler(self.host, self._driver, self._ring)
            else:
                self._driver = FilesDriver(self.host, self.directory)
        return self._driver

    async def drop_driver(self) -> None:
        """Stop all that runs and forget the kind: nothing of the module is left to drive."""
        driver = self._driver
        if driver is not None:
            await driver.stop()
            await self._release()

    async def point(self, slot: Slot | None) -> None:
        """Move the pointer."""
        await self.host.pool.run(self.directory.point, slot.name if slot is not None else None)

    def samples(self, since: float) -> tuple[Sample, ...]:
        """The samples newer than `since`."""
        return self._ring.since(since)

    async def close(self, *, stop: bool) -> None:
        """Let go of the module; with `stop`, end its processes."""
        if self._driver is not None and stop:
            await self._driver.stop()
        await self._release()

    async def report(self, record: ModuleRecord | None = None) -> ModuleReport:
        """Read back what there is now; `record`, when an operation is about to change what is remembered."""
        record = record or self.record
        pointer = await self.host.pool.run(self.directory.current)
        slot = record.slot(pointer)
        observed = await self._observe(slot)
        problems = list(observed.problems)
        tree = await self._tree(slot.name) if slot is not None else None
        if slot is not None and tree != slot.release.tree:
            problems.append(f"the tree of {slot.release} on disk differs from the released tree")
        if pointer is not None and slot is None:
            problems.append(f"the pointer says {pointer}, which was never staged here")
        staged, previous = record.slot(record.staged), record.slot(record.previous)
        known = slot or staged or previous
        return ModuleReport(
            module=self.name,
            kind=known.manifest.kind if known is not None else None,
            state=observed.state
            if pointer is not None or observed.process is not None
            else ModuleState.ABSENT,
            current=slot.release if slot is not None else None,
            previous=previous.release if previous is not None else None,
            staged=staged.release if staged is not None else None,
            tree=tree,
            process=await self._with_tree(observed.process, slot, tree),
            endpoints=observed.endpoints,
            fence=record.fence,
            healthy=observed.healthy,
            beside=await self._beside(observed.beside),
            problems=tuple(problems),
        )

    async def up(self) -> tuple[str, bool] | None:
        """The current version and whether it runs and is healthy; None when it is not installed."""
        slot = await self.current()
        if slot is None:
            return None
        observed = await self._observe(slot)
        return slot.release.version, observed.state is ModuleState.RUNNING and observed.healthy is not False

    async def recover(self, pending: list[Began]) -> None:
        """After a start of the agent: adopt what runs, and complete or take back what a crash cut short.

        The pointer decides: moved means that the operation is completed, not moved that it is undone.
        """
        pointer = await self.host.pool.run(self.directory.current)
        slot = self.record.slot(pointer)
        kinds = [each.manifest.kind for each in self.record.slots.values()]
        if kinds:
            driver = await self.driver(kinds[0])
            await driver.resume(slot)
        for began in pending:
            moved = began.order.action in (Action.ACTIVATE, Action.REVERT) and pointer == began.target
            if moved:
                await self._complete(began)
            else:
                _log.warning("%s %s was cut short and is undone", began.order.action, began.order.id)
                await self.host.journal.undo(began.order.id)
        await self.sweep()

    async def sweep(self) -> None:
        """Delete the trees and logs of slots that are not remembered any more."""
        if self.directory.releases.exists():
            await self.host.pool.run(self.directory.sweep, set(self.record.slots))

    async def result(
        self,
        order: Order,
        started: float,
        *,
        changed: bool,
        fault: Fault | None = None,
        record: ModuleRecord | None = None,
    ) -> OperationResult:
        """What an operation came to, with a fresh read-back; `record` as for `report`."""
        return OperationResult(
            id=order.id,
            action=order.action,
            ok=fault is None,
            changed=changed,
            fault=fault,
            report=await self.report(record),
            started=started,
            finished=time.time(),
        )

    async def _complete(self, began: Began) -> None:
        target, origin = self.record.slot(began.target), self.record.slot(began.origin)
        _log.warning("%s %s was cut short and is completed", began.order.action, began.order.id)
        fault = None
        try:
            if target is None:
                await self.drop_driver()
            else:
                await (await self.driver(target.manifest.kind)).confirm(target)
        except HotswapError as error:
            fault = Fault(code=error.code, message=error.message)
            await self._return(target, origin)
        current = await self.host.pool.run(self.directory.current)

        def change(record: ModuleRecord) -> ModuleRecord:
            return switched(record, began.origin, current)

        result = await self.result(
            began.order, began.at, changed=fault is None, fault=fault, record=change(self.record)
        )
        await self.host.journal.end(began.order, result, change)

    async def _return(self, target: Slot | None, origin: Slot | None) -> None:
        driver = self._driver
        if driver is None or target is None:
            return
        try:
            if origin is None:
                await self.point(None)
                await driver.stop()
            elif origin != target:
                await driver.switch(origin, target, self.point)
        except HotswapError as error:
            _log.error("neither %s nor %s gets ready: %s", target.release, origin and origin.release, error)

    async def _observe(self, slot: Slot | None) -> Observation:
        if self._driver is not None:
            return await self._driver.observe(slot)
        if slot is None:
            return Observation(ModuleState.ABSENT)
        state = ModuleState.STARTING if self.lock.locked() else ModuleState.FAILED
        return Observation(state, problems=("the agent has not brought it into order since it started",))

    async def _beside(self, seen: Beside | None) -> BesideReport | None:
        if seen is None:
            return None
        process = await self._with_tree(seen.process, None, None)
        return BesideReport(
            release=seen.slot.release, process=process, endpoints=seen.endpoints, healthy=seen.healthy
        )

    async def _release(self) -> None:
        driver, self._driver = self._driver, None
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            await sampler.stop()
        if driver is not None:
            await driver.close()

    async def _tree(self, slot: str) -> str | None:
        return await self.host.pool.run(tree_on_disk, slot, self.directory)

    async def _with_tree(
        self, process: RunningProcess | None, slot: Slot | None, tree: str | None
    ) -> RunningProcess | None:
        if process is None:
            return None
        runs_from = self.directory.slot_of(process.release_directory)
        if runs_from is not None and (slot is None or runs_from != slot.name):
            tree = await self._tree(runs_from)
        return process.model_copy(update={"release_tree": tree if runs_from is not None else None})


def switched(record: ModuleRecord, origin: str | None, current: str | None) -> ModuleRecord:
    """The record after the pointer has moved: what was current is previous; other slots are given up.

    When the module was removed nothing of it is kept but its fence and its ports: a new installation is
    found where the old one was.
    """
    if current is None:
        return ModuleRecord(module=record.module, fence=record.fence, ports=record.ports)
    previous = origin if origin != current else record.previous
    staged = record.staged if record.staged != current else None
    return pruned(record.model_copy(update={"previous": previous, "staged": staged}), current)


def pruned(record: ModuleRecord, current: str | None) -> ModuleRecord:
    """The record with only those slots that are current, previous or staged, or run beside."""
    beside = [started.slot for started in record.processes if started.beside]
    wanted = (current, record.previous, record.staged, *beside)
    kept = {name: slot for name, slot in record.slots.items() if name in wanted}
    return record.model_copy(update={"slots": kept})
