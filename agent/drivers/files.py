"""Kind files: a tree behind one pointer, with an optional command that makes its readers look again."""

import asyncio
import os
import signal

from agent.drivers import logs
from agent.drivers.base import Host, Observation, Point, Subject
from agent.drivers.launch import Place, environment
from agent.records import Slot
from agent.slots import ModuleDirectory
from domain.errors import ModuleNotReady
from domain.wire import ModuleState


class FilesDriver:
    """One module's tree of files."""

    def __init__(self, host: Host, directory: ModuleDirectory) -> None:
        self._host = host
        self._directory = directory

    async def switch(self, target: Slot, origin: Slot | None, point: Point) -> None:
        """See Driver. The pointer moves first: the reload command is to find the new tree behind it."""
        await point(target)
        try:
            await self.confirm(target)
        except ModuleNotReady as error:
            await point(origin)
            if origin is not None:
                await self._reload_again(origin, error)
            raise

    async def resume(self, slot: Slot | None) -> None:
        """See Driver. Files need nobody to run them."""

    async def confirm(self, slot: Slot) -> None:
        """See Driver. Runs the reload command; running it once more than needed must do no harm."""
        files = slot.manifest.files
        if files is None or not files.reload:
            return
        place = Place(
            node=self._host.config.node,
            address=self._host.config.bind_address,
            release=self._directory.release(slot.name),
            data=self._directory.data,
            ports={},
        )
        log = self._directory.log(slot.name)
        start = logs.size(log)
        status = await self._run(files.reload, place, slot, files.reload_timeout)
        if status != 0:
            printed = await self._host.pool.run(logs.tail, log, start)
            how = "did not end in time" if status is None else f"exited with status {status}"
            raise ModuleNotReady(f"the reload command of {slot.release} {how}; it printed:\n{printed}")

    async def stop(self) -> None:
        """See Driver."""

    async def close(self) -> None:
        """See Driver."""

    async def observe(self, slot: Slot | None) -> Observation:
        """See Driver. The tree hash, which the module adds, is what there is to read back."""
        return Observation(ModuleState.RUNNING if slot is not None else ModuleState.ABSENT)

    def subject(self) -> Subject | None:
        """See Driver."""
        return None

    async def tidy(self) -> None:
        """See Driver."""

    async def _run(self, command: tuple[str, ...], place: Place, slot: Slot, limit: float) -> int | None:
        with self._directory.log(slot.name).open("ab") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(place.fill(word) for word in command),
                    cwd=place.release,
                    env=environment(slot.manifest, place),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise ModuleNotReady(f"the reload command of {slot.release} cannot run: {error}") from error
            try:
                return await asyncio.wait_for(process.wait(), limit)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                return None

    async def _reload_again(self, origin: Slot, error: ModuleNotReady) -> None:
        try:
            await self.confirm(origin)
        except ModuleNotReady as second:
            raise ModuleNotReady(f"{error.message}\nand back: {second.message}") from second
