"""The API as a process of its own: streams, a clean end, and no start without protection."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from domain.deployment import Phase
from domain.events import EventKind
from domain.messages import Progress
from runtime.settings import PREFIX, ApiSettings
from store import deployments
from tests.api.conftest import TENANT, World
from tests.conftest import free_port


def environment(settings: ApiSettings, **changes: object) -> dict[str, str]:
    named = {**settings.model_dump(exclude_none=True), **changes}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, **{f"{PREFIX}{name.upper()}": str(value) for name, value in named.items()}}


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str

    def client(self, token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers, timeout=20)


@pytest_asyncio.fixture(scope="module")
async def server(world: World, scratch: Path) -> AsyncIterator[Server]:
    port = free_port()
    with (scratch / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            env=environment(world.services.settings, api_port=port),
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    patiently = AsyncRetrying(
        stop=stop_after_delay(30),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(httpx.HTTPError),
        reraise=True,
    )

    async def ready() -> None:
        async with httpx.AsyncClient() as client:
            (await client.get(f"{url}/readyz")).raise_for_status()

    await patiently(ready)
    yield Server(process, url)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, (scratch / "api.log").read_text()


async def write(world: World, deployment: str, key: str, phase: Phase | None) -> None:
    event = EventKind.FINISHED if phase and phase.terminal else EventKind.PHASE
    async with world.services.database.transaction(TENANT) as session:
        await deployments.record(
            session,
            Progress(
                tenant=TENANT,
                deployment=deployment,
                key=key,
                event=event,
                message=f"message {key}",
                phase=phase,
                actor="dora",
            ),
        )


async def queue(world: World, deployment: str) -> None:
    release = world.releases.files("1.0.0", module="streamed")
    assert (await world.push(release)).status_code in (200, 201)
    async with world.services.database.transaction(TENANT) as session:
        await deployments.insert(
            session,
            TENANT,
            deployment=deployment,
            environment="production",
            module="streamed",
            version="1.0.0",
            requester="dora",
        )


async def read(answer: httpx.Response, count: int | None) -> list[dict[str, Any]]:
    """So many events, or all until the stream ends."""
    found: list[dict[str, Any]] = []
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            found.append({**json.loads(event["data"]), "sse": event})
            event = {}
            if len(found) == count:
                break
    return found


async def test_a_stream_follows_a_deployment_live_and_ends_with_it(world: World, server: Server) -> None:
    await queue(world, "streamed-1")
    async with server.client(world.token("vera")) as vera:
        async with vera.stream("GET", "/deployments/streamed-1/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            reading = asyncio.create_task(read(answer, None))
            await write(world, "streamed-1", "1", Phase.PLANNING)
            await write(world, "streamed-1", "2", None)
            await write(world, "streamed-1", "3", Phase.FAILED)
            found = await asyncio.wait_for(reading, 20)
        assert [event["kind"] for event in found] == [
            EventKind.QUEUED,
            EventKind.PHASE,
            EventKind.PHASE,
            EventKind.FINISHED,
        ]
        assert [event["sse"]["event"] for event in found] == [event["kind"] for event in found]
        assert found[-1]["message"] == "message 3"
        assert found[-1]["actor"] == "dora"
        assert found[-1]["at"]

        resumed = {"Last-Event-ID": found[1]["sse"]["id"]}
        async with vera.stream("GET", "/deployments/streamed-1/events", headers=resumed) as answer:
            rest = await asyncio.wait_for(read(answer, None), 20)
        assert [event["id"] for event in rest] == [event["id"] for event in found[2:]]

        over = {"Last-Event-ID": found[-1]["sse"]["id"]}
        assert (await vera.get("/deployments/streamed-1/events", headers=over)).status_code == 204
        bad = await vera.get("/deployments/streamed-1/events", headers={"Last-Event-ID": "x"})
        assert (bad.status_code, bad.json()["field"]) == (422, "Last-Event-ID")


async def test_an_open_stream_does_not_keep_the_api_from_ending(world: World, server: Server) -> None:
    """The fixture's end checks the exit; here a stream is left open that would go on for ever."""
    await queue(world, "streamed-2")
    client = server.client(world.token("vera"))
    request = client.build_request("GET", "/deployments/streamed-2/events")
    answer = await client.send(request, stream=True)
    assert len(await read(answer, 1)) == 1
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 20)
    await client.aclose()
    assert code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"jwt_public_key_file": "wrong pair"},
        {"trust_directory": "empty"},
        {"colour": "red"},
    ],
)
def test_the_api_does_not_start_with_settings_that_protect_nothing(
    world: World, tmp_path: Path, changes: dict[str, str]
) -> None:
    from runtime.authority import ensure_token_keys

    real = {
        "wrong pair": lambda: ensure_token_keys(tmp_path / "other").public,
        "empty": lambda: tmp_path,
        "red": lambda: "red",
    }
    given = {name: real[value]() for name, value in changes.items()}
    done = subprocess.run(
        [sys.executable, "-m", "api"],
        env=environment(world.services.settings, api_port=free_port(), **given),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
