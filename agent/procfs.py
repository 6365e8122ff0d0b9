"""What the kernel says of processes: proc(5). Nothing here is remembered; everything is read when asked."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Stat:
    """Some fields of /proc/<pid>/stat; `started` and `cpu_ticks` in clock ticks, children's CPU included."""

    pid: int
    state: str
    session: int
    started: int
    cpu_ticks: int

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie does not."""
        return self.state not in "ZXx"


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used so far and bytes resident now, of a process and its descendants."""

    cpu_seconds: float
    memory_bytes: float


def stat(pid: int) -> Stat | None:
    """What /proc says of a process; None when there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the second field, the name, may hold blanks and brackets
    # Numbered as in proc(5) minus three: state 3, session 6, utime..cstime 14-17, starttime 22.
    return Stat(
        pid=pid,
        state=fields[0],
        session=int(fields[3]),
        started=int(fields[19]),
        cpu_ticks=sum(int(field) for field in fields[11:15]),
    )


def age(started: int) -> float:
    """Seconds since a start in clock ticks since boot, as `Stat.started` has it."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / _TICKS)


def boot_id() -> str:
    """Names this boot: pids and start ticks mean nothing beyond it."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def executable(pid: int) -> str | None:
    """The file that the process executes; None when it is gone or about to be."""
    return _link(pid, "exe")


def working_directory(pid: int) -> str | None:
    """The process's current directory, " (deleted)" after it if it was; None as for `executable`."""
    return _link(pid, "cwd")


def socket_inodes(pid: int) -> dict[int, int]:
    """The sockets that the process has open: inode → file descriptor."""
    found = {}
    try:
        for entry in (PROC / str(pid) / "fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found[int(target[8:-1])] = int(entry.name)
    except OSError:  # it ended, closed one meanwhile, or is not ours to look into
        return found
    return found


def descendants(pid: int) -> list[int]:
    """The process and all that it started and that still hang below it, itself first."""
    found = [pid]
    for each in found:
        for task in _entries(PROC / str(each) / "task"):
            try:
                found.extend(int(child) for child in (task / "children").read_text().split())
            except OSError:
                continue
    return found


def session_members(session: int) -> list[int]:
    """All processes of a session: what a module's main process started, unless that left by setsid(2)."""
    found = []
    for entry in _entries(PROC):
        if entry.name.isdecimal():
            seen = stat(int(entry.name))
            if seen is not None and seen.session == session and seen.alive:
                found.append(seen.pid)
    return found


def usage(pid: int) -> Usage | None:
    """CPU and memory of a process and its descendants; None when it is gone.

    Shared pages count once per process that maps them.
    """
    ticks, pages, seen_any = 0, 0, False
    for each in descendants(pid):
        seen = stat(each)
        if seen is None:
            continue
        try:
            pages += int((PROC / str(each) / "statm").read_text(encoding="ascii").split()[1])
        except OSError:
            continue
        ticks += seen.cpu_ticks
        seen_any = True
    return Usage(ticks / _TICKS, float(pages * _PAGE)) if seen_any else None


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _link(pid: int, name: str) -> str | None:
    try:
        return str((PROC / str(pid) / name).readlink())
    except PermissionError:
        return "(not readable)"
    except OSError:
        return None
