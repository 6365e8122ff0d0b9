"""One process of a module, watched by its pidfd: pidfd_open(2). Ours or adopted, the same."""

import asyncio
import os
import signal
from dataclasses import dataclass

from agent import procfs
from agent.pool import Pool
from agent.records import Started


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended; `status` as waitstatus_to_exitcode has it, None when it was not our child."""

    status: int | None

    def __str__(self) -> str:
        """In words."""
        if self.status is None:
            return "ended (its status is unknown: another process was its parent)"
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"exited with status {self.status}"


class Instance:
    """A running process, until `exited` is done."""

    def __init__(self, record: Started, pidfd: int, pool: Pool) -> None:
        self.record = record
        self._pidfd = pidfd
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._on_exit)

    @classmethod
    def watch(cls, record: Started, pool: Pool) -> "Instance | None":
        """Take a recorded process under watch; None when that very process is gone.

        The pidfd is opened before the identity is checked: it cannot change to another process after.
        """
        try:
            pidfd = os.pidfd_open(record.pid)
        except OSError:
            return None
        seen = procfs.stat(record.pid)
        if (
            record.boot != procfs.boot_id()
            or seen is None
            or seen.started != record.started
            or not seen.alive
        ):
            os.close(pidfd)
            return None
        return cls(record, pidfd, pool)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.record.pid

    @property
    def pidfd(self) -> int:
        """Refers to this process and never to another with the same number."""
        return self._pidfd

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as the kernel told."""
        return not self.exited.done()

    @property
    def name(self) -> str:
        """Names the process: counters of another instance start anew."""
        return f"{self.record.pid}-{self.record.started}"

    async def stop(self, drain: float) -> None:
        """SIGTERM, `drain` seconds of patience, SIGKILL; then whatever is left of its session."""
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), drain)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await asyncio.shield(self.exited)
        await self.clear()

    async def clear(self) -> None:
        """Kill what an ended process has left behind in its session."""
        await self._pool.run(_kill_session, self.record)

    def close(self) -> None:
        """Stop watching; the process goes on."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    def _on_exit(self) -> None:
        status = None
        try:
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            ended = None
        if ended is not None:
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self.close()
        self.exited.set_result(Exit(status))


def _kill_session(record: Started) -> None:
    leader = procfs.stat(record.pid)
    if leader is not None and leader.started != record.started:
        return  # the number was given away, so the session was empty
    for pid in procfs.session_members(record.pid):
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            seen = procfs.stat(pid)
            if seen is not None and seen.session == record.pid:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            os.close(pidfd)
