"""Where disk work happens: threads, so that a slow fsync never holds up the event loop."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4


class Pool:
    """A few threads; many agents in one process share one executor."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(THREADS, thread_name_prefix="disk")
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread and wait for the answer. A call runs to its end even if nobody waits."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.run_in_executor(
            self._executor, functools.partial(call, *args, **kwargs)
        )
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait for what runs and end our own threads; a shared executor is its owner's."""
        if self._running:
            await asyncio.wait(set(self._running))
        if self._own:
            self._executor.shutdown(wait=False)
