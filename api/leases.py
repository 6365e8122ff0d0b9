"""Counting against a limit without asking the database each time: by blocks that are counted beforehand.

A process that has none left takes the next block of a counter, a hundredth of the limit; it serves as many
requests as there are in it, until the window ends. So the counters, which all replicas share, never say less
than was used: a limit is never exceeded. What another replica has taken and not used yet may be missing, so
one may be refused when so many hundredths of the limit are left as there are other replicas. Limits below 200
are counted one by one.
"""

import time
from functools import partial
from typing import Final

from cachetools import LRUCache
from limits import RateLimitItem

from api.together import Together
from store.limits import LimitCounters

BLOCKS: Final = 100  # of a limit
BLOCKS_KEPT: Final = 20_000


class _Block:
    """What is left of a block, and until when it counts, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._left = 0
        self._ends_at = 0.0
        self._last = False

    def fill(self, granted: int, *, ends_at: float) -> None:
        """So many were granted; none means that the limit is reached."""
        self._left, self._ends_at, self._last = granted, ends_at, granted <= 0

    def use(self, now: float) -> float | None:
        """Use one: 0 when there is one, the seconds to wait when the limit is reached, None when unknown."""
        if now >= self._ends_at:
            return None
        if self._last:
            return self._ends_at - now
        if self._left == 0:
            return None
        self._left -= 1
        return 0.0


class Leases:
    """The blocks of one process; one that was forgotten (there are too many) costs its rest, no more."""

    def __init__(self, counters: LimitCounters) -> None:
        self._counters = counters
        self._blocks: LRUCache[str, _Block] = LRUCache(maxsize=BLOCKS_KEPT)
        self._filling: Together[None] = Together()

    async def hit(self, rate: RateLimitItem, *what: str) -> float:
        """Count one against the limit of `what`; 0 if it is within, else the seconds until there is room."""
        key = rate.key_for(*what)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block()
        while (wait := block.use(time.monotonic())) is None:
            await self._filling.ask(key, partial(self._fill, block, rate, key))
        return wait

    async def _fill(self, block: _Block, rate: RateLimitItem, key: str) -> None:
        size = max(1, rate.amount // BLOCKS)
        began = time.monotonic()  # before the answer came: the window ends no later than that
        counted, left = await self._counters.take(key, size, seconds=rate.get_expiry())
        block.fill(min(size, rate.amount - (counted - size)), ends_at=began + left)
