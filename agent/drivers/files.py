"""Kind files: a tree behind one pointer, with an optional command that makes its readers look again."""

from agent.drivers.base import Host, Observation, Point, Subject
from agent.drivers.commands import Command
from agent.drivers.launch import Place, environment
from agent.drivers.smoke import smoke_test
from agent.records import Slot
from agent.slots import ModuleDirectory
from domain.errors import ModuleNotReady
from domain.wire import ModuleState


class FilesDriver:
    """One module's tree of files."""

    def __init__(self, host: Host, directory: ModuleDirectory) -> None:
        self._host = host
        self._directory = directory

    async def switch(self, target: Slot, origin: Slot | None, point: Point, *, keep: bool = False) -> None:
        """See Driver. The pointer moves first: the reload command is to find the new tree behind it.

        What is replaced stays in its slot, so that there is nothing more to keep.
        """
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
        command = Command(
            words=tuple(place.fill(word) for word in files.reload),
            directory=place.release,
            environment=environment(slot.manifest, place),
            log=self._directory.log(slot.name),
            timeout=files.reload_timeout,
        )
        try:
            fault = await command.fault(self._host.pool)
        except OSError as error:
            raise ModuleNotReady(f"the reload command of {slot.release} cannot run: {error}") from error
        if fault is not None:
            raise ModuleNotReady(f"the reload command of {slot.release} {fault}")

    async def start(self, target: Slot) -> bool:
        """See Driver. A staged tree lies beside the current one already."""
        return False

    async def smoke(self, target: Slot) -> None:
        """See Driver. The command looks at the staged tree in its slot."""
        await smoke_test(target, {}, self._host, self._directory)

    async def settle(self) -> bool:
        """See Driver."""
        return False

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

    async def _reload_again(self, origin: Slot, error: ModuleNotReady) -> None:
        try:
            await self.confirm(origin)
        except ModuleNotReady as second:
            raise ModuleNotReady(f"{error.message}\nand back: {second.message}") from second
