"""Keeps the parts running: starts, waits for readiness, restarts with back-off, stops in order."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from domain.errors import HotswapError
from runtime.embedded.identity import this_process
from runtime.embedded.part import Child, Part, StartFailed, tail
from runtime.embedded.state import PartState, PartStatus, StackState, StackStatus, load, save

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# A part that ends in its first moments is tried again this often before the start counts as failed.
START_ATTEMPTS = 3
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
# Having run this long, a part's next end counts as its first.
STEADY_SECONDS = 60.0
KILL_SECONDS = 10.0


class Unkillable(HotswapError):
    """A process that survives SIGKILL hangs in the kernel."""

    code = "unkillable"


class Supervisor:
    """Runs parts and writes down what it knows of them.

    One that finds survivors of an earlier supervisor adopts them: they are not restarted.

    Args:
        state_file: where the state is kept; what it says at the start are the possible survivors.
        initial: what to write besides the parts (who supervises, where the stack stands).
    """

    def __init__(self, state_file: Path, initial: StackState) -> None:
        before = load(state_file)
        self._file = state_file
        self._boot = this_process().boot
        self._survivors = before.survivors()
        self._state = initial.model_copy(update={"parts": before.parts})
        self._restarts = {name: before.parts[name].restarts for name in self._survivors}
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._save()

    @property
    def survivors(self) -> tuple[str, ...]:
        """The parts of an earlier supervisor that still run and were not adopted yet."""
        return tuple(self._survivors)

    def announce(self, status: StackStatus, problem: str = "") -> None:
        """Write down where the whole stack stands."""
        self._state = self._state.model_copy(update={"status": status, "problem": problem})
        self._save()
        log.info("the stack is %s%s", status, f": {problem}" if problem else "")

    async def start(self, *parts: Part) -> None:
        """Start (or adopt) parts at once; return when all are ready.

        Raises:
            StartFailed: one is not ready in time, or ended again and again.
        """
        first = {part.name: asyncio.get_running_loop().create_future() for part in parts}
        for part in parts:
            keeper = asyncio.create_task(self._keep(part, first[part.name]), name=part.name)
            keeper.add_done_callback(partial(_pass_on, first[part.name]))
            self._keepers[part.name] = keeper
        await asyncio.gather(*first.values())

    async def stop(self, *stages: Sequence[Part]) -> None:
        """Stop parts, stage after stage; all that were ever started or survive, whether ready or not."""
        for stage in stages:
            await asyncio.gather(*(self._stop(part) for part in stage))

    async def _keep(self, part: Part, first: asyncio.Future[None]) -> None:
        failures = 0
        while True:
            child = self._child(part)
            self._note(part, PartStatus.STARTING, child)
            ready = await self._becomes_ready(part, child)
            if ready:
                log.info("%s is ready (pid %d)", part.name, child.process.pid)
                self._note(part, PartStatus.RUNNING, child)
                if not first.done():
                    first.set_result(None)
                await child.gone()
            hangs = child.alive()
            await _end(child, part)
            fault = f"not ready within {part.ready_seconds:.0f} s" if hangs else child.ending
            failures = 1 if ready and time.time() - child.started > STEADY_SECONDS else failures + 1
            if not first.done() and (hangs or failures >= START_ATTEMPTS):
                raise StartFailed(f"{part.name}: {fault}\n{tail(part.log)}".rstrip())
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (failures - 1))
            log.warning("%s ended (%s); starting it again in %.1f s", part.name, fault, delay)
            self._restarts[part.name] = self._restarts.get(part.name, 0) + 1
            self._note(part, PartStatus.WAITING, None)
            await asyncio.sleep(delay)

    def _child(self, part: Part) -> Child:
        survivor = self._survivors.pop(part.name, None)
        if survivor is not None:
            log.info("%s still runs (pid %d): adopted", part.name, survivor.pid)
            child = Child(survivor, started=0.0)
        else:
            child = Child.spawn(part)
            log.info("%s started (pid %d)", part.name, child.process.pid)
        self._children[part.name] = child
        return child

    async def _becomes_ready(self, part: Part, child: Child) -> bool:
        deadline = time.monotonic() + part.ready_seconds
        while time.monotonic() < deadline and child.alive():
            if await part.ready(child.process, child.started):
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _stop(self, part: Part) -> None:
        keeper = self._keepers.pop(part.name, None)
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)  # what it failed of, start has raised
        child = self._children.get(part.name)
        if child is None and part.name in self._survivors:
            child = self._child(part)
        if part.cleans_up and (child is None or not child.alive()) and self._left_something(part):
            log.info("%s is down: starting it once more, to clean up after itself", part.name)
            child = self._child(part)
            await self._becomes_ready(part, child)
        if child is not None and child.alive():
            log.info("stopping %s (pid %d)", part.name, child.process.pid)
            await _end(child, part)
        self._note(part, PartStatus.STOPPED, None)

    def _left_something(self, part: Part) -> bool:
        """Whether it was up in this boot and was not stopped."""
        known = self._state.parts.get(part.name)
        return known is not None and known.boot == self._boot and known.status is not PartStatus.STOPPED

    def _note(self, part: Part, status: PartStatus, child: Child | None) -> None:
        present = PartState(
            status=status,
            boot=self._boot,
            process=child.process if child is not None else None,
            port=part.port,
            restarts=self._restarts.get(part.name, 0),
            log=part.log,
        )
        self._state = self._state.model_copy(update={"parts": {**self._state.parts, part.name: present}})
        self._save()

    def _save(self) -> None:
        save(self._file, self._state)


async def _end(child: Child, part: Part) -> None:
    """The polite signal, then, past the part's deadline, SIGKILL. Returns when the process is gone."""
    for number, seconds in ((part.stop_signal, part.stop_seconds), (signal.SIGKILL, KILL_SECONDS)):
        if not child.alive():
            return
        child.process.send(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.gone(), seconds)
    if child.alive():
        raise Unkillable(f"{part.name} (pid {child.process.pid}) does not end")


def _pass_on(first: asyncio.Future[None], keeper: asyncio.Task[None]) -> None:
    """A keeper ends with an error only: at the first start `start` raises it, later it is logged."""
    error = None if keeper.cancelled() else keeper.exception()
    if error is None:
        first.cancel()
    elif first.done():
        log.error("nobody keeps %s any more: %s", keeper.get_name(), error)
    else:
        first.set_exception(error)
