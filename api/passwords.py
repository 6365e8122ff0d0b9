"""Passwords: Argon2id hashes, checked in threads, a few at a time, in the same time for unknown users."""

import asyncio
import secrets
from typing import Annotated

from pwdlib import PasswordHash
from pydantic import StringConstraints

CHECKS_AT_ONCE = 4  # each takes about 64 MiB

# The upper bound keeps a hash from being made of megabytes.
NewPassword = Annotated[str, StringConstraints(min_length=12, max_length=256)]
GivenPassword = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        self._scheme = PasswordHash.recommended()
        self._nobody = self._scheme.hash(secrets.token_urlsafe(32))
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        async with self._slots:
            return await asyncio.to_thread(self._scheme.hash, password)

    async def check(self, password: str, kept: str | None) -> bool:
        """Whether the password is the kept one; for an unknown user (None) a no that takes as long."""
        async with self._slots:
            same = await asyncio.to_thread(self._scheme.verify, password, kept or self._nobody)
        return same and kept is not None
