"""What somebody without rights, or with few, can use up: series of metrics, the database, streams, time."""

import asyncio
import secrets
from dataclasses import replace
from http import HTTPStatus

import httpx
import pytest
import uvicorn

from api import identity
from api.application import create_app
from api.connections import ImpatientProtocol
from store.database import Database
from tests.api.conftest import World
from tests.api.test_feed import queued

PATIENCE = 20  # seconds


async def test_made_up_methods_make_no_series_of_their_own(world: World) -> None:
    async with world.asks(None) as nobody:
        for number in range(20):
            await nobody.request(f"FLOOD{number}", "/deployments")
            await nobody.get(f"/flood-{number}")
    fresh = replace(world, app=create_app(world.services))
    fresh.app.state.metrics = world.app.state.metrics
    async with fresh.asks(None) as nobody:
        text = (await nobody.get("http://api/metrics")).text
    assert "FLOOD" not in text
    assert "flood" not in text
    assert 'hotswap_http_requests_total{method="other"' in text


async def test_keys_that_are_made_up_leave_the_database_to_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = 0, 0
    by_key = identity._by_key

    async def counting(*arguments: object) -> object:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await by_key(*arguments)  # type: ignore[arg-type]
        finally:
            at_once -= 1

    monkeypatch.setattr(identity, "_by_key", counting)
    async with world.asks(None) as nobody:
        made_up = [f"hsk.default.{secrets.token_hex(8)}.{secrets.token_urlsafe(32)}" for _ in range(100)]
        answers = await asyncio.gather(
            *(nobody.get("/nodes", headers={"Authorization": f"Bearer {key}"}) for key in made_up)
        )
    assert {answer.status_code for answer in answers} == {401}
    assert most == identity.KEYS_AT_ONCE


async def test_a_token_that_does_not_count_is_looked_up_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = replace(world, app=create_app(world.services))
    opened = 0
    begin = Database.transaction

    def counting(self: Database, tenant: str) -> object:
        nonlocal opened
        opened += 1
        return begin(self, tenant)

    monkeypatch.setattr(Database, "transaction", counting)
    ended = world.services.minter.user(tenant="default", username="vera", role="viewer", session="gone").token
    for token in (ended, f"hsk.default.{secrets.token_hex(8)}.{secrets.token_urlsafe(32)}"):
        opened = 0
        async with fresh.asks(None) as nobody:
            nobody.headers["Authorization"] = f"Bearer {token}"
            assert {(await nobody.get("/nodes")).status_code for _ in range(5)} == {401}
        assert opened == 1


async def test_whether_it_is_ready_is_asked_once_by_many(world: World) -> None:
    fresh = replace(world, app=create_app(world.services))
    asked = 0
    system = world.services.database.system

    def counting() -> object:
        nonlocal asked
        asked += 1
        return system()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.services.database, "system", counting)
        async with fresh.asks(None) as nobody:
            for path in ("readyz", "metrics"):
                answers = await asyncio.gather(*(nobody.get(f"http://api/{path}") for _ in range(50)))
                assert {answer.status_code for answer in answers} == {200}
    assert asked == 2


async def test_streams_are_bounded_per_person_and_per_tenant(world: World) -> None:
    settings = world.services.settings.model_copy(update={"streams_of_person": 2, "streams_of_tenant": 3})
    few = replace(world, app=create_app(replace(world.services, settings=settings)))
    await queued(world, "flooded-1")
    path = "/deployments/flooded-1/events"

    async def opened(streams: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while sum(few.app.state.streams._open.values()) != 2 * streams:
                await asyncio.sleep(0.02)

    async with few.asks("vera") as vera, few.asks("dora") as dora:
        reading = [asyncio.create_task(vera.get(path)) for _ in range(2)]
        await opened(2)
        refused = await vera.get(path)
        assert (refused.status_code, refused.headers["Retry-After"]) == (HTTPStatus.TOO_MANY_REQUESTS, "10")
        reading.append(asyncio.create_task(dora.get(path)))
        await opened(3)
        assert (await dora.get(path)).status_code == HTTPStatus.TOO_MANY_REQUESTS
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await opened(0)
        again = asyncio.create_task(dora.get(path))
        await opened(1)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)


class Hasty(ImpatientProtocol):
    head_seconds = body_seconds = 0.3
    body_bytes = 1000


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", False),
        (b"POST /api/v1/auth/token HTTP/1.1\r\nHost: api\r\nX-Slow: ", False),
        (b"POST /api/v1/auth/token HTTP/1.1\r\nHost: api\r\nContent-Length: 999\r\n\r\n{", False),
        (
            b"POST /api/v1/auth/token HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            False,
        ),
        (b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n", True),
    ],
)
async def test_a_client_that_does_not_come_to_an_end_is_let_go(
    world: World, sent: bytes, answered: bool
) -> None:
    server = uvicorn.Server(
        uvicorn.Config(world.app, port=0, http=Hasty, log_config=None, lifespan="off", timeout_keep_alive=1)
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        got = await reader.read()  # until the server closes
    assert got.startswith(b"HTTP/1.1 200") is answered
    writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    server.should_exit = True
    await serving
