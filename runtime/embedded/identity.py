"""Which process a pid meant when it was written down: pids are used again, start times are not."""

import os
import signal
from pathlib import Path
from typing import Self

from domain.base import Frozen

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProcessId(Frozen):
    """A process of this machine.

    Attributes:
        pid: its number.
        started: clock ticks between boot and its start (field 22 of proc(5)'s stat).
        boot: the boot it lived in.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process with this pid now; None when there is none, or only a zombie."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the name in parentheses and may hold anything; fields count from behind it.
        fields = text[text.rindex(")") + 2 :].split()
        if fields[0] in ("Z", "X"):
            return None
        return cls(pid=pid, started=int(fields[19]), boot=_BOOT_ID.read_text(encoding="utf-8").strip())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; false when it is gone.

        The pidfd is opened before the check, so that the pid cannot change hands in between.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)


def this_process() -> ProcessId:
    """The identity of the process that asks."""
    found = ProcessId.of(os.getpid())
    if found is None:
        raise ProcessLookupError("/proc does not show this process")
    return found
