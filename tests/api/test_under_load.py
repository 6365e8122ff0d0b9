"""Many requests at once: nobody waits for another's wait, readers pass writers, an end loses no answer."""

import asyncio
import itertools
import signal
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.application import create_app
from api.identity import Caller, Standings
from api.routes import requests
from api.services import Services
from store import groups
from store.database import Database
from store.limits import LimitCounters
from store.tables import DeploymentRow, EnvironmentRow, NodeRow, TenantRow, UserRow
from tests.api.conftest import TENANT, World
from tests.api.serving import PATIENCE, serving
from tests.api.test_delegations import REQUEST
from tests.bundles.threads import watched
from tests.conftest import free_port

AT_ONCE = 200
READS = ("/deployments", "/nodes", "/nodes/silent-1", "/clusters", "/clusters/production", "/tenant")


@pytest.mark.finding("4")
async def test_a_slow_look_up_of_one_request_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All requests are inside the look-up of who asks at once; a blocking one would let in only one."""
    inside = asyncio.Barrier(AT_ONCE)
    look_up = Standings.caller

    async def slow(standings: Standings, hands: Services, token: str) -> Caller:
        await inside.wait()
        return await look_up(standings, hands, token)

    monkeypatch.setattr(Standings, "caller", slow)
    async with asyncio.timeout(PATIENCE), world.asks("vera") as vera:
        answers = await asyncio.gather(*(vera.get("/auth/me") for _ in range(AT_ONCE)))
    assert Counter(answer.status_code for answer in answers) == {200: AT_ONCE}


@pytest.mark.finding("22")
async def test_readers_wait_for_no_writer(world: World) -> None:
    """The rows that admission locks are locked for as long as it takes; every reader gets its answer."""
    async with world.services.database.transaction(TENANT) as session:
        locked = [
            (await session.scalars(select(table).with_for_update())).all()
            for table in (TenantRow, EnvironmentRow, NodeRow, DeploymentRow, UserRow)
        ]
        async with asyncio.timeout(PATIENCE), world.asks("vera") as vera:
            answers = await asyncio.gather(*(vera.get(path) for path in READS * 15))
    assert all(locked[:3])
    assert Counter(answer.status_code for answer in answers) == {200: len(READS) * 15}


@pytest.mark.finding("21")
async def test_ended_under_load_it_has_reported_no_success_without_a_row(
    world: World, tmp_path: Path
) -> None:
    """SIGTERM while twenty clients write: what was answered is kept, and what was not kept had no success."""
    numbers = itertools.count()
    answered: dict[str, int] = {}
    many = asyncio.Event()

    async def write(client: httpx.AsyncClient) -> None:
        while True:
            name = f"written-{next(numbers)}"
            try:
                answer = await client.put(f"/groups/{name}", json={"members": ["vera"]})
            except httpx.TransportError:
                return  # it listens no more
            answered[name] = answer.status_code
            if len(answered) > 100:
                many.set()

    async with serving(world, tmp_path) as (process, client):
        writers = [asyncio.create_task(write(client)) for _ in range(20)]
        await asyncio.wait_for(many.wait(), PATIENCE)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*writers), PATIENCE)
        assert await asyncio.to_thread(process.wait, 20) == 0
    async with world.services.database.transaction(TENANT) as session:
        kept = {name for name in await groups.members(session, TENANT) if name.startswith("written-")}
        for name in kept:
            await groups.set_members(session, TENANT, name, ())
    assert set(answered.values()) <= {200, 503}
    assert {name for name, status in answered.items() if status == 200} <= kept
    assert not kept & {name for name, status in answered.items() if status == 503}


@pytest.mark.races_long
@pytest.mark.finding("N7")
async def test_a_thousand_at_once_are_all_answered(world: World, tmp_path: Path) -> None:
    """How long it takes is bench/front_door.py's matter; here each of them gets what he asked for."""
    everybody = 1000
    async with serving(world, tmp_path, limits=httpx.Limits(max_connections=None)) as (_, client):
        answers = await asyncio.gather(*(client.get("/nodes/silent-1") for _ in range(everybody)))
    assert Counter(answer.status_code for answer in answers) == {200: everybody}
    print(f"\n{everybody} requests at once: all answered")


class Wire:
    """A TCP relay to a port of this host that can be cut and mended, or hold back what is sent."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: list[asyncio.StreamWriter] = []
        self._flows = asyncio.Event()
        self._flows.set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    def hold(self) -> None:
        """Nothing comes through any more, and no connection ends."""
        self._flows.clear()

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._open += [writer, onward_writer]
        await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(64 * 1024):
                await self._flows.wait()
                writer.write(chunk)
        except OSError:
            return  # cut
        writer.close()


@pytest.mark.finding("23")
async def test_without_its_database_it_says_so_and_goes_on_by_itself(world: World) -> None:
    """Cut off, each request is answered 503 with a time to try again; after that, the first one is well."""
    ours = world.services
    url = ours.database.url
    port = int(url.rpartition("/")[0].rpartition(":")[2])
    wire = Wire(port)
    relayed = url.replace(f":{port}/", f":{wire.port}/")
    database, counters = Database(relayed, pool_size=5), LimitCounters(relayed)
    app = create_app(replace(ours, database=database, counters=counters))
    headers = {"Authorization": f"Bearer {world.token('dora')}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as dora,
    ):
        for _ in range(2):
            await wire.mend()
            well = await asyncio.gather(*(dora.get("/nodes") for _ in range(5)))
            assert [answer.status_code for answer in well] == [200] * 5
            wire.cut()
            cut_off = await asyncio.gather(*(dora.get("/nodes") for _ in range(5)))
            assert {(each.status_code, each.json()["code"]) for each in cut_off} == {(503, "unavailable")}
            assert all(int(each.headers["Retry-After"]) > 0 for each in cut_off)
    await database.dispose()
    await counters.dispose()


@pytest.mark.finding("20")
async def test_a_push_is_checked_and_read_beside_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = world.releases.files("1.0.0", module="beside-the-loop")
    threads = watched(monkeypatch)
    assert (await world.push(release)).status_code == 201
    assert {"_digest", "_read"} <= set(threads)
    assert threading.current_thread() not in set().union(*threads.values())


@pytest.mark.finding("23")
async def test_while_temporal_is_silent_a_request_gives_its_connection_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected and mute, as a machine is that has run out of memory."""
    ours = world.services
    wire = Wire(int(ours.settings.temporal_address.rpartition(":")[2]))
    await wire.mend()
    relayed = await Client.connect(
        f"127.0.0.1:{wire.port}",
        namespace=ours.settings.temporal_namespace,
        data_converter=pydantic_data_converter,
    )
    database = Database(ours.database.url, pool_size=2)
    app = create_app(replace(ours, database=database, temporal=relayed))
    headers = {"Authorization": f"Bearer {world.token('dora')}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    monkeypatch.setattr(requests, "PATIENCE", timedelta(seconds=0.2))
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as dora,
    ):
        wire.hold()
        silent = await asyncio.gather(*(dora.post("/approvals", json=REQUEST) for _ in range(4)))
        assert {(each.status_code, each.json()["code"]) for each in silent} == {(503, "unavailable")}
        assert (await dora.get("/nodes")).status_code == 200
    wire.cut()
    await database.dispose()
