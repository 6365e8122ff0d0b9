"""Kind process: a supervised program, replaced by hand-over of its sockets or by a restart."""

import asyncio

from agent.drivers import logs
from agent.drivers.base import Host, Observation, Point, Subject
from agent.drivers.instance import Instance
from agent.drivers.processes import Processes, process_of
from agent.drivers.second import Second, read_back
from agent.drivers.smoke import smoke_test
from agent.drivers.supervisor import Supervisor
from agent.entrance import Entrance
from agent.records import Slot
from agent.slots import ModuleDirectory
from domain.errors import Conflict, HotswapError, ModuleNotReady, SmokeFailed
from domain.names import ModuleName
from domain.wire import ModuleState, RunningProcess

# Seconds that a process is still left to accept after the public was steered away from its socket: a
# connection whose handshake had begun before belongs to it.
LAST_ARRIVALS = 0.5


class ProcessDriver:
    """One module's program.

    With hand-over on both sides the new process starts beside the old one, on the same listening sockets;
    the old one is told to go only after the pointer has moved. Otherwise the old one stops first.

    A second instance runs on sockets of its own on the same ports; who is let in to which is one call to the
    kernel (agent.steering), so that switching to it, and back, takes no start of a process.
    """

    def __init__(self, module: ModuleName, host: Host, directory: ModuleDirectory) -> None:
        self._host = host
        self._directory = directory
        self._processes = Processes(module, host, directory)
        self._supervisor: Supervisor | None = None
        self._second: Second | None = None

    async def switch(self, target: Slot, origin: Slot | None, point: Point, *, keep: bool = False) -> None:
        """See Driver."""
        second = self._second
        if second is not None and second.slot == target:
            if await self._in_place(second) and await second.well(self._host):
                await self._let_in(second, point, keep=keep)
                return
            if keep:
                raise ModuleNotReady(f"{target.release}, which ran beside, has ended or is not healthy")
        await self.settle()
        running = self._supervisor.slot if self._supervisor is not None else None
        if running is not None and "restart" in (process_of(running).swap, process_of(target).swap):
            await self._replace(target, running, point)
        else:
            await self._hand_over(target, origin, point)

    async def start(self, target: Slot) -> bool:
        """See Driver."""
        second = self._second
        if second is not None and second.slot == target and await self._in_place(second):
            return False
        await self.settle()
        running = self._supervisor.slot if self._supervisor is not None else None
        if running is not None and process_of(running).swap == "restart":
            raise Conflict(f"{running.release} binds its own ports: nothing can run beside it")
        try:
            instance = await self._processes.start(target, beside=True)
        except (HotswapError, OSError):
            self._close_spare_sockets()
            raise
        self._second = await self._beside(target, instance)
        return True

    async def smoke(self, target: Slot) -> None:
        """See Driver. What a crash of the agent has taken along is started again first."""
        await smoke_test(target, await self._way_to(target), self._host, self._directory)

    async def _way_to(self, target: Slot) -> dict[str, str]:
        """Where the release under test answers: beside, or where it is current already, in public."""
        if self._supervisor is not None and self._supervisor.slot == target:
            return self._processes.listeners.endpoints(process_of(target), self._processes.record)
        if self._second is None:
            await self.start(target)
        second = self._second
        if second is None or second.slot != target:
            raise Conflict(f"{target.release} does not run beside, something else does")
        if not second.instance.alive:
            raise SmokeFailed(f"{target.release} {second.instance.exited.result()}")
        return dict(second.entrance.endpoints)

    async def settle(self) -> bool:
        """See Driver."""
        second, self._second = self._second, None
        if second is None:
            return False
        await second.entrance.close()
        await self._processes.stop(second.instance, process_of(second.slot).drain_timeout)
        self._processes.listeners.drop(second.instance.record.sockets)
        self._close_spare_sockets()
        return True

    async def resume(self, slot: Slot | None) -> None:
        """See Driver."""
        found = await self._processes.adopt()
        ready = [each for each in found if each.record.ready]
        current = [each for each in ready if slot is not None and each.record.slot == slot.name]
        keep = current[-1] if current else None
        others = [each for each in ready if keep is not None and each not in current and each.record.beside]
        second = others[-1] if others else None
        await self._processes.stop_all(keep, second)
        if keep is not None:
            used = second.record.sockets.values() if second is not None else ()
            self._processes.listeners.trim([*keep.record.sockets.values(), *used])
            await self._host.pool.run(self._processes.listeners.steer, keep.record.sockets)
            await self._processes.mark(keep, beside=False)
        if slot is not None:
            self._supervise(slot, keep)
        found_slot = self._processes.record.slot(second.record.slot) if second is not None else None
        if second is not None and found_slot is not None:
            self._second = await self._beside(found_slot, second)

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
        await self.settle()
        await self._unsupervise()
        await self._processes.stop_all()
        self._processes.listeners.trim(())

    async def close(self) -> None:
        """See Driver."""
        if self._second is not None:
            await self._second.entrance.close()
        await self._unsupervise()
        self._processes.close()

    async def observe(self, slot: Slot | None) -> Observation:
        """See Driver."""
        instance = self._supervisor.instance if self._supervisor is not None else None
        problems = self._problems()
        process = await self._host.pool.run(read_back, instance) if instance is not None else None
        beside = await self._second.seen(self._host) if self._second is not None else None
        if slot is None:
            state = ModuleState.FAILED if self._main_processes() else ModuleState.ABSENT
            return Observation(state, process, beside=beside, problems=problems)
        if process is not None and self._directory.slot_of(process.release_directory) != slot.name:
            where = f"process {process.pid} runs from {process.release_directory}"
            problems = (*problems, f"the pointer says {slot.release.version}, {where}")
        endpoints = self._processes.listeners.endpoints(process_of(slot), self._processes.record)
        healthy = await self._healthy(slot, process)
        return Observation(self._state(process), process, endpoints, healthy, beside, problems)

    def subject(self) -> Subject | None:
        """See Driver."""
        supervisor = self._supervisor
        instance = supervisor.instance if supervisor is not None else None
        if supervisor is None or instance is None or self._main_processes() != [instance]:
            return None
        manifest = supervisor.slot.manifest
        ports = self._ports(supervisor.slot)
        probe, metrics = manifest.probe, manifest.metrics
        return Subject(
            version=manifest.version,
            pid=instance.pid,
            started=instance.record.started,
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

    async def _let_in(self, second: Second, point: Point, *, keep: bool) -> None:
        """Let the public in to what runs beside; with `keep`, what ran until now stays beside in its turn."""
        supervisor = self._supervisor
        old = supervisor.instance if supervisor is not None else None
        if keep and old is not None:
            await self._processes.mark(old, beside=True)
        listeners = self._processes.listeners
        before = listeners.public()
        await self._host.pool.run(listeners.steer, second.instance.record.sockets)
        try:
            await point(second.slot)
        except OSError:
            await self._host.pool.run(listeners.steer, before)
            raise
        await second.entrance.close()
        self._second = None
        await self._unsupervise()
        self._supervise(second.slot, second.instance)
        await self._processes.mark(second.instance, beside=False)
        if keep and old is not None and supervisor is not None and old.alive:
            self._second = await self._beside(supervisor.slot, old)
            return
        await asyncio.sleep(LAST_ARRIVALS)
        await self._processes.stop_all(second.instance)
        listeners.trim(second.instance.record.sockets.values())

    async def _in_place(self, second: Second) -> bool:
        """Whether it runs, and from its slot as it is now: what is staged again is another directory."""
        process = await self._host.pool.run(read_back, second.instance)
        return process is not None and self._directory.slot_of(process.release_directory) == second.slot.name

    async def _beside(self, slot: Slot, instance: Instance) -> Second:
        listeners = self._processes.listeners
        entrance = Entrance(listeners.source, listeners.address, self._ports(slot))
        await entrance.open()
        return Second(slot, instance, entrance)

    def _close_spare_sockets(self) -> None:
        """Where nothing is current there is nobody to hold a public socket for."""
        if self._supervisor is None:
            self._processes.listeners.trim(())

    async def _replace(self, target: Slot, running: Slot, point: Point) -> None:
        await self.stop()
        try:
            new = await self._processes.start(target)
            await point(target)
        except (HotswapError, OSError):
            await self._processes.stop_all()
            self._processes.listeners.trim(())
            self._supervise(running, None)
            await self._settled(running)
            raise
        await self._take_over(target, new)

    async def _take_over(self, slot: Slot, instance: Instance) -> None:
        await self._unsupervise()
        self._supervise(slot, instance)
        await self._processes.stop_all(instance)
        self._processes.listeners.trim(instance.record.sockets.values())

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

    def _main_processes(self) -> list[Instance]:
        """What runs, without what runs beside because it was ordered so."""
        second = self._second.instance if self._second is not None else None
        return [each for each in self._processes.alive() if each is not second]

    def _problems(self) -> tuple[str, ...]:
        found = []
        if self._supervisor is not None and self._supervisor.problem is not None:
            found.append(self._supervisor.problem)
        alive = self._main_processes()
        if len(alive) > 1:
            pids = ", ".join(str(each.pid) for each in alive)
            found.append(f"{len(alive)} processes run: {pids}")
        found.extend(
            f"the listening socket {name} could not be recovered from the running process"
            for name in sorted(self._processes.listeners.lost)
        )
        return tuple(found)
