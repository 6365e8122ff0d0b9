"""Heartbeats: tells the control plane that the node is there, and what it has. Nothing waits for them."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from agent.config import AgentConfig
from agent.pool import Pool
from domain.wire import NodeReport

JITTER = 0.2  # of the period, so that a fleet that started together does not call together
TIMEOUT = 10.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """Posts the node's report again and again until stopped."""

    def __init__(
        self,
        url: str,
        token_file: Path,
        config: AgentConfig,
        pool: Pool,
        report: Callable[[], Awaitable[NodeReport]],
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/nodes/{config.node}/heartbeat"
        self._token_file = token_file
        self._period = config.heartbeat_seconds
        self._pool = pool
        self._report = report
        self._failing = False
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
            while True:
                self._note(await self._beat(session))
                await asyncio.sleep(self._period * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    async def _beat(self, session: aiohttp.ClientSession) -> str | None:
        """Send one; return what went wrong, in words."""
        try:
            token = (await self._pool.run(self._token_file.read_text, encoding="ascii")).strip()
            report = await self._report()
            async with session.post(
                self._url,
                data=report.model_dump_json(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            ) as answer:
                return None if answer.ok else f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
            return str(error) or type(error).__name__

    def _note(self, failure: str | None) -> None:
        """Log the change from well to ill and back, not every beat."""
        if failure is not None and not self._failing:
            _log.warning("heartbeats do not reach %s: %s", self._url, failure)
        if failure is None and self._failing:
            _log.info("heartbeats reach %s again", self._url)
        self._failing = failure is not None
