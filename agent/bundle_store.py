"""Bundles on the node, by their SHA-256. A bundle is here once its bytes are, whole and on the disk."""

import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import BinaryIO

from agent.journal import sync_directory
from agent.pool import Pool
from domain.errors import BundleInvalid, BundleTooLarge

UNUSED_SECONDS = 3600.0  # a bundle that no slot came from is kept this long
UNUSED_COUNT = 32  # and no more of them than this
_INCOMING = ".incoming-"


class BundleStore:
    """One directory of content-addressed files."""

    def __init__(self, directory: Path, pool: Pool, limit: int) -> None:
        self._directory = directory
        self._pool = pool
        self._limit = limit

    def prepare(self) -> None:
        """Make the directory and forget uploads that a crash cut short. Blocking."""
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for entry in self._directory.glob(f"{_INCOMING}*"):
            entry.unlink()

    def path(self, digest: str) -> Path:
        """Where a bundle is, or would be."""
        return self._directory / digest

    async def receive(self, digest: str, chunks: AsyncIterator[bytes]) -> int:
        """Take a bundle in and return its size in bytes.

        Raises:
            BundleTooLarge: more bytes than the agent's limit.
            BundleInvalid: other bytes than the digest says.
        """
        incoming = self._directory / f"{_INCOMING}{secrets.token_hex(8)}"
        hashed = hashlib.sha256()
        size = 0
        try:
            with await self._pool.run(incoming.open, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._limit:
                        raise BundleTooLarge(f"the bundle is larger than {self._limit} bytes", field="bundle")
                    hashed.update(chunk)
                    await self._pool.run(file.write, chunk)
                if hashed.hexdigest() != digest:
                    raise BundleInvalid("the bundle's bytes are not those of its digest", field="digest")
                await self._pool.run(self._keep, file, incoming, digest)
        finally:
            incoming.unlink(missing_ok=True)
        return size

    def collect(self, used: Collection[str]) -> None:
        """Delete bundles that no slot came from: the old ones, and the oldest beyond a bound. Blocking."""
        unused = sorted(
            (
                (entry.stat().st_mtime, entry)
                for entry in self._directory.iterdir()
                if entry.name not in used and not entry.name.startswith(_INCOMING)
            ),
            reverse=True,
        )
        oldest = time.time() - UNUSED_SECONDS
        for place, (changed, entry) in enumerate(unused):
            if place >= UNUSED_COUNT or changed < oldest:
                entry.unlink(missing_ok=True)

    def _keep(self, file: BinaryIO, incoming: Path, digest: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        incoming.replace(self.path(digest))
        sync_directory(self._directory)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Blocking."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
