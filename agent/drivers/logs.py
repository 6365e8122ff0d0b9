"""What module processes print. They write to the file themselves, so that it goes on without the agent."""

import os
import shutil
from pathlib import Path

LIMIT = 8 * 1024 * 1024  # bytes; twice that at most, with the old half
TAIL = 2000


def rotate(log: Path) -> None:
    """Move a log that is over its limit aside, in place: the writers hold it open, appending.

    Lines written between the copy and the cut are lost.
    """
    if size(log) > LIMIT:
        shutil.copyfile(log, log.with_suffix(".log.old"))
        os.truncate(log, 0)


def size(log: Path) -> int:
    """Bytes in the log."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, start: int) -> str:
    """The end of what was written after `start`."""
    with log.open("rb") as file:
        file.seek(max(start, size(log) - TAIL))
        return file.read(TAIL).decode("utf-8", errors="replace").strip()
