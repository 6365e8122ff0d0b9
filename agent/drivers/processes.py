"""The processes of one module, from start to end, and what is remembered of them."""

import asyncio
import os
import socket
from collections.abc import Awaitable
from dataclasses import dataclass

from agent import procfs, sockets
from agent.drivers import logs
from agent.drivers.base import Host
from agent.drivers.instance import Instance
from agent.drivers.launch import Launch, Place, environment, spawn
from agent.drivers.listeners import Listeners
from agent.notify import NotifySocket
from agent.records import ModuleRecord, Slot, Started
from agent.slots import ModuleDirectory
from domain.errors import ModuleNotReady
from domain.manifest import Process
from domain.names import ModuleName


def process_of(slot: Slot) -> Process:
    """The [process] section, which a slot of kind process always has."""
    if slot.manifest.process is None:
        raise TypeError(f"{slot.release} is not a process")
    return slot.manifest.process


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A start, up to the point where the process waits at its gate."""

    launch: Launch
    ports: dict[str, int]
    handed: dict[str, socket.socket]
    log_start: int


class Processes:
    """Starts, adopts and stops; `instances` are those that are not seen to have ended, oldest first."""

    def __init__(self, module: ModuleName, host: Host, directory: ModuleDirectory) -> None:
        self._module = module
        self._host = host
        self._directory = directory
        self.listeners = Listeners(host.config.bind_address)
        self.instances: list[Instance] = []
        self._preparing = asyncio.Lock()

    @property
    def record(self) -> ModuleRecord:
        """What is remembered of the module."""
        return self._host.journal.record(self._module)

    def alive(self) -> list[Instance]:
        """The processes that run, oldest first."""
        self.instances = [instance for instance in self.instances if instance.alive]
        return self.instances

    async def adopt(self) -> list[Instance]:
        """Find the recorded processes that still run, and their sockets."""
        watched = [Instance.watch(started, self._host.pool) for started in self.record.processes]
        self.instances = [instance for instance in watched if instance is not None]
        await self._host.pool.run(self.listeners.recover, list(self.instances))
        return list(self.instances)

    async def start(
        self,
        slot: Slot,
        *,
        restarts: int = 0,
        abandon: asyncio.Event | None = None,
        beside: bool = False,
    ) -> Instance:
        """Start a process of a slot and wait until it is ready.

        Args:
            slot: what to run.
            restarts: how many crashes came before, to be remembered.
            abandon: when set meanwhile, the start is given up.
            beside: give it sockets of its own on the same ports, which the public does not reach yet.

        Raises:
            Conflict: it cannot run beside.
            ModuleNotReady: it ended, or did not get ready in time; nothing of it is left.
            SocketUnavailable: a port is taken.
        """
        notify = NotifySocket() if process_of(slot).ready == "notify" else None
        try:
            async with self._preparing:  # two starts at once must not both bind the same port
                prepared = await self._host.pool.run(self._prepare, slot, notify, beside)
            instance = await self._launch(slot, prepared, restarts, beside=beside)
            ready = notify.ready() if notify is not None else self._probed(slot, prepared.ports)
            try:
                await self._wait_ready(slot, instance, ready, prepared, abandon)
                await self.mark(instance, ready=True)
            except (ModuleNotReady, OSError):
                # Not SIGKILL: it shares a listening socket, and may have connections already.
                await self.stop(instance, process_of(slot).drain_timeout)
                raise
        finally:
            if notify is not None:
                notify.close()
        return instance

    async def mark(self, instance: Instance, **facts: bool) -> None:
        """Remember something of a process: that it is ready, that it may run beside."""
        instance.record = instance.record.model_copy(update=facts)
        await self._remember()

    async def stop(self, instance: Instance, drain: float) -> None:
        """Let it drain and end it."""
        await instance.stop(drain)
        self.alive()

    async def stop_all(self, *keep: Instance | None) -> None:
        """Stop every process but these, each with the patience that its own manifest asks for."""
        others = [instance for instance in self.alive() if instance not in keep]
        await asyncio.gather(*(self.stop(instance, self._drain(instance)) for instance in others))

    def close(self) -> None:
        """Stop watching; processes go on."""
        for instance in self.instances:
            instance.close()
        self.listeners.trim(())

    def place(self, slot: Slot, ports: dict[str, int]) -> Place:
        """Where a slot's programs run."""
        return Place(
            node=self._host.config.node,
            address=self._host.config.bind_address,
            release=self._directory.release(slot.name),
            data=self._directory.data,
            ports=ports,
        )

    def _prepare(self, slot: Slot, notify: NotifySocket | None, beside: bool) -> _Prepared:
        process = process_of(slot)
        listeners = self.listeners
        prepare = listeners.prepare_beside if beside else listeners.prepare
        ports, handed = prepare(process, self.record)
        place = self.place(slot, ports)
        variables = environment(slot.manifest, place)
        if notify is not None:
            variables["NOTIFY_SOCKET"] = notify.address
        log = self._directory.log(slot.name)
        logs.rotate(log)
        launch = Launch(
            command=tuple(place.fill(word) for word in process.command),
            environment=variables,
            directory=place.release,
            log=log,
            sockets={name: each.fileno() for name, each in handed.items()},
        )
        return _Prepared(launch, ports, handed, logs.size(log))

    async def _launch(self, slot: Slot, prepared: _Prepared, restarts: int, *, beside: bool) -> Instance:
        pid, gate = await self._host.pool.run(spawn, prepared.launch)
        try:
            seen = procfs.stat(pid)
            started = Started(
                boot=self._host.boot,
                pid=pid,
                started=seen.started if seen is not None else 0,
                slot=slot.name,
                sockets={name: sockets.inode(each) for name, each in prepared.handed.items()},
                restarts=restarts,
                beside=beside,
            )
            instance = Instance.watch(started, self._host.pool)
            if instance is None:
                raise ModuleNotReady(f"process {pid} of {slot.release} ended before it could run")
            self.instances.append(instance)
            await self._remember(prepared.ports)
            os.write(gate, b"\n")
        finally:
            os.close(gate)
        return instance

    async def _remember(self, ports: dict[str, int] | None = None) -> None:
        def change(record: ModuleRecord) -> ModuleRecord:
            return record.model_copy(
                update={
                    "ports": {**record.ports, **(ports or {})},
                    "processes": tuple(instance.record for instance in self.alive()),
                }
            )

        await self._host.journal.note(self._module, change)

    async def _wait_ready(
        self,
        slot: Slot,
        instance: Instance,
        ready: Awaitable[None],
        prepared: _Prepared,
        abandon: asyncio.Event | None,
    ) -> None:
        limit = process_of(slot).start_timeout
        readiness = asyncio.ensure_future(ready)
        given_up = asyncio.ensure_future((abandon or asyncio.Event()).wait())
        try:
            await asyncio.wait(
                (readiness, given_up, instance.exited), timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not instance.alive:
                reason = str(instance.exited.result())
            elif readiness.done():
                readiness.result()
                return
            else:
                reason = "was stopped" if given_up.done() else f"was not ready after {limit:g} s"
        finally:
            readiness.cancel()
            given_up.cancel()
        printed = await self._host.pool.run(logs.tail, prepared.launch.log, prepared.log_start)
        said = f"; it printed:\n{printed}" if printed else ""
        raise ModuleNotReady(f"{slot.release} {reason}{said}")

    async def _probed(self, slot: Slot, ports: dict[str, int]) -> None:
        probe = slot.manifest.probe
        if probe is None:
            raise TypeError(f"{slot.release} has no probe")
        url = self.url(probe.socket, probe.path, ports)
        await self._host.prober.healthy(url, probe.timeout)

    def url(self, name: str, path: str, ports: dict[str, int]) -> str:
        """Where a socket of the module answers over HTTP."""
        address = self._host.config.bind_address
        return f"http://{f'[{address}]' if ':' in address else address}:{ports[name]}{path}"

    def _drain(self, instance: Instance) -> float:
        slot = self.record.slot(instance.record.slot)
        return process_of(slot).drain_timeout if slot is not None else 0
