"""API processes of a test's own, started as the product starts them, over a world's database and Temporal."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.api.conftest import World
from tests.api.test_server import environment
from tests.conftest import free_port

PATIENCE = 60.0  # a process takes half of it to start where the machine has much else to do


@asynccontextmanager
async def serving(
    world: World, directory: Path, *, settings: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """One API process that is ready, and an admin's client of it.

    Args:
        directory: of its log.
        settings: of this process, besides the world's.
        options: of the client.
    """
    port = free_port()
    with (directory / f"api-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            env=environment(world.services.settings, api_port=port, **(settings or {})),
            stdout=log,
            stderr=log,
        )
    patiently = AsyncRetrying(
        stop=stop_after_delay(PATIENCE),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(httpx.HTTPError),
        reraise=True,
    )
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {world.token('admin')}"}

    async def ready(client: httpx.AsyncClient) -> None:
        (await client.get(f"{url}/readyz")).raise_for_status()

    try:
        async with httpx.AsyncClient(
            base_url=f"{url}/api/v1", headers=headers, timeout=60, **options
        ) as client:
            await patiently(ready, client)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
