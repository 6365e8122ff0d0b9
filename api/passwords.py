"""Passwords: Argon2id hashes, checked in threads, a few at a time, in the same time for unknown users."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Annotated

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pydantic import StringConstraints

from domain.identity import LONGEST_PASSWORD, SHORTEST_PASSWORD
from runtime.strength import require_strong

CHECKS_AT_ONCE = 4  # each takes about 64 MiB

# The upper bound keeps a hash from being made of megabytes.
NewPassword = Annotated[str, StringConstraints(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
GivenPassword = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PASSWORD)]


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        self._scheme = PasswordHash.recommended()
        self._nobody = self._scheme.hash(secrets.token_urlsafe(32))
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def require_strong(self, password: str, *, about: Sequence[str], field: str = "password") -> None:
        """Refuse a password that is easy to guess.

        Raises:
            WeakPassword: with the reason in words.
        """
        await asyncio.to_thread(require_strong, password, about=about, field=field)

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        async with self._slots:
            return await asyncio.to_thread(self._scheme.hash, password)

    async def check(self, password: str, kept: str | None) -> bool:
        """Whether the password is the kept one; for an unknown user (None) a no that takes as long."""
        async with self._slots:
            same = await asyncio.to_thread(self._matches, password, kept or self._nobody)
        return same and kept is not None

    def _matches(self, password: str, kept: str) -> bool:
        try:
            return self._scheme.verify(password, kept)
        except UnknownHashError:  # such as "!": no password fits, and that takes as long
            self._scheme.verify(password, self._nobody)
            return False
