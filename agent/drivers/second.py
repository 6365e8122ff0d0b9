"""A process beside the current one: green before a switch, blue after it, with a private way to it."""

from dataclasses import dataclass

from agent import procfs
from agent.drivers.base import Beside, Host
from agent.drivers.instance import Instance
from agent.entrance import Entrance
from agent.records import Slot
from domain.wire import RunningProcess


@dataclass(frozen=True, slots=True)
class Second:
    """Nobody starts it again when it ends: that it has ended is what has to be seen."""

    slot: Slot
    instance: Instance
    entrance: Entrance

    async def healthy(self, host: Host) -> bool | None:
        """The health probe's answer over the private way; None without a probe."""
        probe = self.slot.manifest.probe
        if probe is None:
            return None
        url = f"http://{self.entrance.endpoints[probe.socket]}{probe.path}"
        return (await host.prober.health(url, probe.timeout)).ok

    async def well(self, host: Host) -> bool:
        """Whether it runs and is not known to be sick."""
        return self.instance.alive and await self.healthy(host) is not False

    async def seen(self, host: Host) -> Beside:
        """As it is now."""
        process = await host.pool.run(read_back, self.instance) if self.instance.alive else None
        healthy = await self.healthy(host) if process is not None else None
        return Beside(self.slot, process, dict(self.entrance.endpoints), healthy)


def read_back(instance: Instance) -> RunningProcess | None:
    """What the kernel says of a process now; None when it is gone. Blocking."""
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
