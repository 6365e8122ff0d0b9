"""Requests that write to the same lane take turns within a process before they take the lane's lock.

The lock on the environment's row orders them over all replicas. Those who wait for it hold a connection each,
and a crowd for one lane would leave none for anybody else; here they wait without.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from sqlalchemy.exc import TimeoutError as PoolTimeout


class Turns:
    """One per process. First come, first served; a lane that nobody waits for is forgotten.

    Args:
        patience: seconds that one waits for his turn at most.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, tenant: str, environment: str) -> AsyncIterator[None]:
        """Wait for one's turn, and have it until the block ends.

        Raises:
            sqlalchemy.exc.TimeoutError: it did not come in time, as when no connection is free.
        """
        lock = self._locks.setdefault((tenant, environment), asyncio.Lock())
        try:
            async with asyncio.timeout(self._patience):
                await lock.acquire()
        except TimeoutError as error:
            raise PoolTimeout(f"no turn in {environment} came within {self._patience} s") from error
        try:
            yield
        finally:
            lock.release()
