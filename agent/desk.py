"""Where operations arrive: each id applied once, older fences refused, one at a time per module."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from agent.actions import Done, prepare
from agent.drivers.base import Host
from agent.faults import fault_of
from agent.journal import raised
from agent.module import Module
from agent.records import Began, Ended, Order
from domain.errors import Conflict, Fenced, HotswapError
from domain.names import ModuleName
from domain.wire import Action, Fault, ModuleReport, Operation, OperationResult

_log = logging.getLogger(__name__)


class Desk:
    """Takes operations, and keeps the modules that they are about."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._modules: dict[ModuleName, Module] = {}
        self._running: dict[str, tuple[Order, asyncio.Task[OperationResult]]] = {}
        self._recoveries: list[asyncio.Task[None]] = []

    def module(self, name: ModuleName) -> Module | None:
        """A module that this node has heard of."""
        return self._modules.get(name)

    async def recover(self) -> None:
        """Begin to bring every known module into order; operations on it wait until that is done."""
        pending: dict[ModuleName, list[Began]] = {}
        for began in self._host.journal.pending.values():
            pending.setdefault(began.order.module, []).append(began)
        for name in self._host.journal.records:
            module = self._modules.setdefault(name, Module(name, self._host))
            await module.lock.acquire()
            self._recoveries.append(asyncio.create_task(self._recover(module, pending.get(name, []))))

    async def recovered(self) -> None:
        """Wait until every module is in order."""
        await asyncio.gather(*self._recoveries)

    async def submit(self, operation: Operation) -> OperationResult:
        """Apply an operation, or answer with what became of it earlier.

        The operation runs to its end even if the caller goes away; a repeat waits for the same end.

        Raises:
            Fenced: a newer attempt has touched the module.
            Conflict: the id was used for another operation; or see `agent.actions`.
            NotFound, NotStaged: see `agent.actions`. All of these leave no trace in the journal.
        """
        order = Order.of(operation)
        running = self._running.get(order.id)
        if running is not None:
            _same(order, running[0])
            return (await asyncio.shield(running[1])).model_copy(update={"replayed": True})
        task = asyncio.create_task(self._apply(operation, order))
        self._running[order.id] = (order, task)
        task.add_done_callback(lambda _: self._running.pop(order.id, None))
        return await asyncio.shield(task)

    async def reports(self, names: Collection[ModuleName] | None = None) -> tuple[ModuleReport, ...]:
        """Read back the modules, or some of them."""
        known = [name for name in self._modules if name in self._host.journal.records]
        chosen = [name for name in sorted(known) if names is None or name in names]
        return tuple(await asyncio.gather(*(self._modules[name].report() for name in chosen)))

    async def up(self) -> list[tuple[ModuleName, str, bool]]:
        """Module, current version, and whether it runs and is healthy, of those that are installed."""
        modules = list(self._modules.values())
        found = await asyncio.gather(*(module.up() for module in modules))
        return [(module.name, *seen) for module, seen in zip(modules, found, strict=True) if seen is not None]

    async def close(self, *, stop: bool, grace: float) -> None:
        """Wait for operations under way, `grace` seconds at most, and let go of the modules.

        What is not done by then is left as after a crash: the next start completes it or takes it back.
        """
        under_way = {task for _, task in self._running.values()} | set(self._recoveries)
        if under_way:
            await asyncio.wait(under_way, timeout=grace)
        await asyncio.gather(*(module.close(stop=stop) for module in self._modules.values()))

    async def _recover(self, module: Module, pending: list[Began]) -> None:
        try:
            await module.recover(pending)
        except (HotswapError, OSError):
            _log.exception("module %s could not be brought into order", module.name)
        finally:
            module.lock.release()

    async def _apply(self, operation: Operation, order: Order) -> OperationResult:
        module = self._modules.setdefault(order.module, Module(order.module, self._host))
        async with module.lock:
            recorded = self._host.journal.ended(order.id)
            if recorded is not None:
                return self._replay(order, recorded)
            if order.fence < module.record.fence:
                self._count(order, "refused")
                raise Fenced(
                    f"fence {order.fence} is older than {module.record.fence}, which {order.module} has seen"
                )
            if order.action is Action.VERIFY:
                return await self._verify(module, order)
            return await self._execute(module, operation, order)

    async def _verify(self, module: Module, order: Order) -> OperationResult:
        # Never recorded: a repeat is to read back again, and there is nothing that could be applied twice.
        if order.fence > module.record.fence:
            await self._host.journal.note(order.module, lambda record: raised(record, order.fence))
        self._count(order, "ok")
        return await module.result(order, time.time(), changed=False)

    async def _execute(self, module: Module, operation: Operation, order: Order) -> OperationResult:
        started = time.time()
        try:
            step = await prepare(module, operation)
        except HotswapError:
            self._count(order, "refused")
            raise
        await self._host.journal.begin(Began(order=order, origin=step.origin, target=step.target, at=started))
        done, fault = await _outcome(step.run)
        result = await module.result(
            order, started, changed=done.changed, fault=fault, record=done.change(module.record)
        )
        await self._host.journal.end(order, result, done.change)
        self._count(order, "ok" if result.ok else "failed")
        await self._collect(module)
        return result

    async def _collect(self, module: Module) -> None:
        """Delete slots and bundles that nothing refers to any more."""
        await module.sweep()
        records = self._host.journal.records.values()
        used = {slot.release.digest for record in records for slot in record.slots.values()}
        await self._host.pool.run(self._host.bundles.collect, used)

    def _replay(self, order: Order, recorded: Ended) -> OperationResult:
        _same(order, recorded.order)
        self._count(order, "replayed")
        return recorded.result.model_copy(update={"replayed": True})

    def _count(self, order: Order, outcome: str) -> None:
        self._host.metrics.operations.labels(order.action.value, outcome).inc()


async def _outcome(run: Callable[[], Awaitable[Done]]) -> tuple[Done, Fault | None]:
    try:
        return await run(), None
    except HotswapError as error:
        return Done(changed=False), Fault(code=error.code, message=error.message)
    except OSError as error:
        _log.exception("an operation failed")
        return Done(changed=False), fault_of(error)


def _same(order: Order, earlier: Order) -> None:
    if order.model_copy(update={"fence": earlier.fence}) != earlier:
        raise Conflict(f"operation id {order.id} was used for another operation", field="id")
