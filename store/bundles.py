"""Bundles as files, named by their content: one directory, one file per SHA-256."""

import hashlib
import os
import secrets
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

    def put(self, source: Path) -> str:
        """Keep a file's content, durably, and take the file away; the SHA-256 that names it from now on."""
        with source.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        target = self._target(digest)
        target.parent.mkdir(exist_ok=True)
        source.replace(target)
        _sync_directory(target.parent)
        return digest

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


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
