"""Kind process: a supervised program, replaced by hand-over of its sockets or by a restart."""

import asyncio

from agent import procfs
from agent.drivers import logs
from agent.drivers.base import Host, Observation, Point, Subject
from agent.drivers.instance import Instance
from agent.drivers.processes import Processes, process_of
from agent.drivers.supervisor import Supervisor
from agent.records import Slot
from agent.slots import ModuleDirectory
from domain.errors import HotswapError, ModuleNotReady
from domain.names import ModuleName
from domain.wire import ModuleState, RunningProcess


class ProcessDriver:
    """One module's program.

    With hand-over on both sides the new process starts beside the old one, on the same listening sockets;
    the old one is told to go only after the pointer has moved. Otherwise the old one stops first.
    """

    def __init__(self, module: ModuleName, host: Host, directory: ModuleDirectory) -> None:
        self._host = host
        self._directory = directory
        self._processes = Processes(module, host, directory)
        self._supervisor: Supervisor | None = None

    async def switch(self, target: Slot, origin: Slot | None, point: Point) -> None:
        """See Driver."""
        running = self._supervisor.slot if self._supervisor is not None else None
        if running is not None and "restart" in (process_of(running).swap, process_of(target).swap):
            await self._replace(target, running, point)
        else:
            await self._hand_over(target, origin, point)

    async def resume(self, slot: Slot | None) -> None:
        """See Driver."""
        found = await self._processes.adopt()
        ready = [
            each for each in found if slot is not None and each.record.slot == slot.name and each.record.ready
        ]
        keep = ready[-1] if ready else None
        await self._processes.stop_all(keep)
        if slot is not None:
            self._supervise(slot, keep)

    async def confirm(self, slot: Slot) -> None:
        """See Driver."""
        supervisor = self._supervisor
        if supervisor is None:
            raise ModuleNotReady(f"{slot.release} is not started")
        limit = process_of(slot).start_timeout
        try:
            await asyncio.wait_for(supervisor.up.wait(), limit)
        except TimeoutError:
            raise ModuleNotReady(
                supervisor.problem or f"{slot.release} was not ready after {limit:g} s"
            ) from None

    async def stop(self) -> None:
        """See Driver."""
        await self._unsupervise()
        await self._processes.stop_all()
        self._processes.listeners.trim({})

    async def close(self) -> None:
        """See Driver."""
        await self._unsupervise()
        self._processes.close()

    async def observe(self, slot: Slot | None) -> Observation:
        """See Driver."""
        instance = self._supervisor.instance if self._supervisor is not None else None
        problems = self._problems()
        process = await self._host.pool.run(_read_back, instance) if instance is not None else None
        if slot is None:
            state = ModuleState.FAILED if self._processes.alive() else ModuleState.ABSENT
            return Observation(state, process, problems=problems)
        if process is not None and self._directory.slot_of(process.release_directory) != slot.name:
            where = f"process {process.pid} runs from {process.release_directory}"
            problems = (*problems, f"the pointer says {slot.release.version}, {where}")
        endpoints = self._processes.listeners.endpoints(process_of(slot), self._processes.record)
        return Observation(
            self._state(process), process, endpoints, await self._healthy(slot, process), problems
        )

    def subject(self) -> Subject | None:
        """See Driver."""
        supervisor = self._supervisor
        instance = supervisor.instance if supervisor is not None else None
        if supervisor is None or instance is None or self._processes.alive() != [instance]:
            return None
        manifest = supervisor.slot.manifest
        ports = self._ports(supervisor.slot)
        probe, metrics = manifest.probe, manifest.metrics
        return Subject(
            version=manifest.version,
            pid=instance.pid,
            instance=instance.name,
            probe=probe,
            probe_url=self._processes.url(probe.socket, probe.path, ports) if probe else None,
            metrics=metrics,
            metrics_url=self._processes.url(metrics.socket, metrics.path, ports) if metrics else None,
        )

    async def tidy(self) -> None:
        """See Driver."""
        if self._supervisor is not None:
            await self._host.pool.run(logs.rotate, self._directory.log(self._supervisor.slot.name))

    async def _hand_over(self, target: Slot, origin: Slot | None, point: Point) -> None:
        new = await self._processes.start(target)
        try:
            await point(target)
        except OSError:
            await self._processes.stop(new, process_of(target).drain_timeout)
            raise
        await self._take_over(target, new)

    async def _replace(self, target: Slot, running: Slot, point: Point) -> None:
        await self.stop()
        try:
            new = await self._processes.start(target)
            await point(target)
        except (HotswapError, OSError):
            await self._processes.stop_all()
            self._processes.listeners.trim({})
            self._supervise(running, None)
            await self._settled(running)
            raise
        await self._take_over(target, new)

    async def _take_over(self, slot: Slot, instance: Instance) -> None:
        await self._unsupervise()
        self._supervise(slot, instance)
        await self._processes.stop_all(instance)
        self._processes.listeners.trim(self._ports(slot) if process_of(slot).swap == "handover" else {})

    async def _settled(self, slot: Slot) -> None:
        """Give a slot that was started again the time to get ready; if it does not, the report says so."""
        try:
            await self.confirm(slot)
        except ModuleNotReady:
            return

    def _supervise(self, slot: Slot, instance: Instance | None) -> None:
        self._supervisor = Supervisor(slot, self._processes, self._host, instance)

    async def _unsupervise(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.stop()

    def _ports(self, slot: Slot) -> dict[str, int]:
        return self._processes.listeners.ports(process_of(slot), self._processes.record)

    def _state(self, process: RunningProcess | None) -> ModuleState:
        if process is not None:
            return ModuleState.RUNNING
        starting = self._supervisor is not None and self._supervisor.starting
        return ModuleState.STARTING if starting else ModuleState.FAILED

    async def _healthy(self, slot: Slot, process: RunningProcess | None) -> bool | None:
        probe = slot.manifest.probe
        if probe is None or process is None:
            return None
        url = self._processes.url(probe.socket, probe.path, self._ports(slot))
        return (await self._host.prober.health(url, probe.timeout)).ok

    def _problems(self) -> tuple[str, ...]:
        found = []
        if self._supervisor is not None and self._supervisor.problem is not None:
            found.append(self._supervisor.problem)
        alive = self._processes.alive()
        if len(alive) > 1:
            pids = ", ".join(str(each.pid) for each in alive)
            found.append(f"{len(alive)} processes run: {pids}")
        found.extend(
            f"the listening socket {name} could not be recovered from the running process"
            for name in sorted(self._processes.listeners.lost)
        )
        return tuple(found)


def _read_back(instance: Instance) -> RunningProcess | None:
    seen = procfs.stat(instance.pid)
    if seen is None or seen.started != instance.record.started or not seen.alive:
        return None
    executable = procfs.executable(instance.pid)
    directory = procfs.working_directory(instance.pid)
    if executable is None or directory is None:
        return None
    return RunningProcess(
        pid=instance.pid,
        started=seen.started,
        executable=executable,
        release_directory=directory,
        release_tree=None,
        restarts=instance.record.restarts,
    )
