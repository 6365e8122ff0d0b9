"""Bundles as files, named by their content: one directory, one file per SHA-256."""

import hashlib
import math
import os
import secrets
import time
from pathlib import Path

from domain.errors import NotFound

_CHUNK = 1 << 20


class BundleDirectory:
    """Files appear whole or not at all, and never change. Blocking: call it from a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._incoming = path / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def scratch(self) -> Path:
        """A path for an upload under way, on the same file system; the caller removes what it leaves."""
        return self._incoming / secrets.token_hex(16)

    def seal(self, source: Path) -> str:
        """Make a scratch file durable, so that `keep` has little left to do; its SHA-256."""
        with source.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        return digest

    def keep(self, source: Path, digest: str) -> None:
        """Keep a sealed file under its digest, durably, and take the file away."""
        target = self._target(digest)
        target.parent.mkdir(exist_ok=True)
        source.replace(target)
        _sync_directory(target.parent)

    def sweep(self, *, older_than: float) -> int:
        """Delete uploads that nobody wrote to for so many seconds: their process was killed; how many."""
        oldest = time.time() - older_than
        left = [path for path in self._incoming.iterdir() if _written(path) < oldest]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def path_of(self, digest: str) -> Path:
        """Where the content with this SHA-256 is, or would be."""
        return self._target(digest)

    def require(self, digest: str) -> Path:
        """The file with this content.

        Raises:
            NotFound: it is not kept here.
        """
        target = self._target(digest)
        if not target.is_file():
            raise NotFound(f"no bundle {digest[:12]}…")
        return target

    def _target(self, digest: str) -> Path:
        return self._path / digest[:2] / f"{digest}.bundle"


def _written(path: Path) -> float:
    """When it was last written to, in seconds since the epoch; one that has just gone is new."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
