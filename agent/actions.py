"""What each action does: `prepare` refuses what cannot be, before anything is journaled; a Step does it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.journal import Change
from agent.module import Module, pruned, switched
from agent.records import ModuleRecord, Slot
from agent.stage import intact, same_kind, stage
from domain.errors import Conflict, NotFound, NotStaged, ReadBackMismatch
from domain.release import ReleaseRef
from domain.wire import Action, ModuleState, Operation


@dataclass(frozen=True, slots=True)
class Done:
    """What an action came to: whether the node is other than before, and what is to be remembered."""

    changed: bool
    change: Change = lambda record: record


@dataclass(frozen=True, slots=True)
class Step:
    """An action that may begin: from which slot to which the pointer will go, and how."""

    origin: str | None
    target: str | None
    run: Callable[[], Awaitable[Done]]


async def prepare(module: Module, operation: Operation) -> Step:
    """Look at an operation and at the node; nothing is changed yet.

    Raises:
        NotFound: the bundle to stage was not sent.
        NotStaged: the release has no slot here.
        Conflict: it would replace or delete what runs.
    """
    current = await module.current()
    if operation.release is None:
        return _removal(module, current)
    prepared = {
        Action.STAGE: _stage,
        Action.ACTIVATE: _activate,
        Action.REVERT: _activate,
        Action.RETIRE: _retire,
        Action.START: _start,
        Action.SMOKE: _smoke,
        Action.SETTLE: _settle,
        Action.RENEW: _renew,
    }[operation.action]
    return await prepared(module, operation, operation.release, current)


async def _stage(module: Module, operation: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    pool, bundles = module.host.pool, module.host.bundles
    name = current.name if current is not None else None
    known = module.record.find(release)
    bundle = bundles.path(release.digest)
    whole = known is not None and await pool.run(intact, known, module.directory)
    if known is not None and not whole and current == known:
        raise Conflict(
            f"{release} is current and its files were changed on disk: activate another release first"
        )
    if not whole and not bundle.exists():
        raise NotFound(f"the bundle of {release} was not sent to this node", field="release.digest")

    async def run() -> Done:
        if known is not None and whole:
            slot, changed = known, False
        else:
            await pool.run(module.directory.prepare)
            slot = await pool.run(
                stage, bundle, release, operation.signature or "", module.directory, module.host.config
            )
            same_kind(module.record, slot)
            changed = True

        def change(record: ModuleRecord) -> ModuleRecord:
            slots = {**record.slots, slot.name: slot}
            staged = slot.name if slot.name != name else record.staged
            return pruned(record.model_copy(update={"slots": slots, "staged": staged}), name)

        return Done(changed, change)

    return Step(name, name, run)


async def _activate(module: Module, operation: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    target = module.record.find(release)
    if target is None:
        raise NotStaged(f"{release} is not in a slot of this node")
    origin = current.name if current is not None else None

    async def run() -> Done:
        driver = await module.driver(target.manifest.kind)
        if current == target and await _fine(module, release):
            return Done(changed=not operation.keep and await driver.settle())
        await _whole(module, target)
        await driver.switch(target, current, module.point, keep=operation.keep)
        return Done(changed=True, change=lambda record: switched(record, origin, target.name))

    return Step(origin, target.name, run)


async def _whole(module: Module, slot: Slot) -> None:
    """What is about to run must be what was signed.

    Raises:
        ReadBackMismatch: the tree on disk is another one by now.
    """
    if not await module.host.pool.run(intact, slot, module.directory):
        raise ReadBackMismatch(
            f"the tree of {slot.release} on disk differs from the released tree: stage it again"
        )


async def _start(module: Module, _: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    target = module.record.find(release)
    if target is None:
        raise NotStaged(f"{release} is not in a slot of this node")

    async def run() -> Done:
        if target == current:
            return Done(changed=False)
        await _whole(module, target)
        driver = await module.driver(target.manifest.kind)
        return Done(changed=await driver.start(target))

    return _staying(current, run)


async def _smoke(module: Module, _: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    target = module.record.find(release)
    if target is None:
        raise NotStaged(f"{release} is not in a slot of this node")

    async def run() -> Done:
        await (await module.driver(target.manifest.kind)).smoke(target)
        return Done(changed=False)

    return _staying(current, run)


async def _settle(module: Module, _: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    if current is None or current.release != release:
        raise Conflict(f"{release} is not current: what runs beside is needed")

    async def run() -> Done:
        return Done(changed=await (await module.driver(current.manifest.kind)).settle())

    return _staying(current, run)


async def _renew(module: Module, _: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    if current is None or current.release != release:
        raise Conflict(f"{release} is not current: only what is can be renewed")

    async def run() -> Done:
        await _whole(module, current)
        driver = await module.driver(current.manifest.kind)
        await driver.switch(current, current, module.point)
        return Done(changed=True)

    return _staying(current, run)


def _staying(current: Slot | None, run: Callable[[], Awaitable[Done]]) -> Step:
    """A step that leaves the pointer where it is."""
    name = current.name if current is not None else None
    return Step(name, name, run)


def _removal(module: Module, current: Slot | None) -> Step:
    async def run() -> Done:
        if current is not None:
            await module.point(None)
        await module.drop_driver()
        changed = current is not None or bool(module.record.slots)
        return Done(changed, lambda record: switched(record, None, None))

    return Step(current.name if current is not None else None, None, run)


async def _retire(module: Module, _: Operation, release: ReleaseRef, current: Slot | None) -> Step:
    slot = module.record.find(release)
    if slot is not None and slot == current:
        raise Conflict(f"{release} is current: it cannot be retired")
    name = current.name if current is not None else None

    async def run() -> Done:
        if slot is None:
            return Done(changed=False)

        def change(record: ModuleRecord) -> ModuleRecord:
            left = {
                "slots": {key: each for key, each in record.slots.items() if key != slot.name},
                "previous": record.previous if record.previous != slot.name else None,
                "staged": record.staged if record.staged != slot.name else None,
            }
            return record.model_copy(update=left)

        return Done(changed=True, change=change)

    return Step(name, name, run)


async def _fine(module: Module, release: ReleaseRef) -> bool:
    report = await module.report()
    trees = [report.tree] if report.process is None else [report.tree, report.process.release_tree]
    runs = report.state is ModuleState.RUNNING and report.healthy is not False
    return runs and all(tree == release.tree for tree in trees)
