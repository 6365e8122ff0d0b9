"""Commands that a manifest names: run in the release directory, without a shell, within a time."""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.drivers import logs
from agent.pool import Pool


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and where; what it prints goes to the end of `log`."""

    words: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    log: Path
    timeout: float

    async def fault(self, pool: Pool) -> str | None:
        """Run it; how it failed, in words, or None when it ended with status 0.

        Raises:
            OSError: it cannot be started.
        """
        start = logs.size(self.log)
        status = await self._run()
        if status == 0:
            return None
        printed = await pool.run(logs.tail, self.log, start)
        how = "did not end in time" if status is None else f"exited with status {status}"
        return f"{how}; it printed:\n{printed}"

    async def _run(self) -> int | None:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.words,
                cwd=self.directory,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            return await asyncio.wait_for(process.wait(), self.timeout)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            return None
