"""Limits hold over replicas, take nothing from one another, and believe nobody's word about his address."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
import sqlalchemy as sa
from limits import parse
from pydantic import ValidationError

from api.application import create_app
from api.housekeeping import tidy_once
from api.leases import Leases
from domain.roles import Role
from runtime.limit_settings import LimitSettings
from store import sessions, users
from store.limits import TABLE, LimitCounters
from store.tables.identity import SessionRow
from tests.api.conftest import LIMITS, PASSWORD, TENANT, World

_numbers = itertools.count(1)


@pytest_asyncio.fixture
async def replicas(world: World) -> AsyncIterator[list[LimitCounters]]:
    """Three processes' counters in one database."""
    found = [LimitCounters(world.services.settings.database_url, pool_size=4) for _ in range(3)]
    yield found
    for each in found:
        await each.dispose()


class Counted:
    """The replicas' counters, and how often they were asked."""

    def __init__(self, replicas: list[LimitCounters]) -> None:
        self._replicas = replicas
        self.times = 0

    def of(self, number: int) -> LimitCounters:
        counters, take = self._replicas[number], self._replicas[number].take

        async def counting(key: str, amount: int, *, seconds: int) -> tuple[int, float]:
            self.times += 1
            return await take(key, amount, seconds=seconds)

        counters.take = counting  # type: ignore[method-assign]
        return counters


def limited(world: World, **changes: object) -> World:
    """The application with other limits; the counters are the same database's."""
    settings = world.services.settings.model_copy(update=changes)
    services = replace(world.services, settings=settings)
    return replace(world, services=services, app=create_app(services))


async def somebody(world: World, role: Role = Role.VIEWER) -> dict[str, str]:
    """A new person's header; nobody has counted him yet."""
    name = f"limited-{next(_numbers)}"
    async with world.services.database.transaction(TENANT) as session:
        await users.insert(session, TENANT, username=name, password_hash="!", role=role)
    return {
        "Authorization": f"Bearer {world.services.minter.user(tenant=TENANT, username=name, role=role).token}"
    }


def client(world: World, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://api/api/v1")


@pytest.mark.finding("24")
async def test_a_limit_holds_over_three_replicas_asked_at_once(replicas: list[LimitCounters]) -> None:
    rate = parse("50/minute")
    leases = [Leases(counters) for counters in replicas]
    for name in (secrets.token_hex(4) for _ in range(3)):
        waits = await asyncio.gather(*(leases[n % 3].hit(rate, name) for n in range(150)))
        assert waits.count(0) == 50
        assert all(50 < wait <= 60 for wait in waits if wait)
        assert await Leases(replicas[1]).hit(rate, name) > 0


@pytest.mark.finding("24")
@pytest.mark.parametrize("asked", [1, 3])
async def test_a_large_limit_is_counted_by_blocks_and_never_exceeded(
    replicas: list[LimitCounters], asked: int
) -> None:
    rate, name = parse("3000/minute"), secrets.token_hex(4)
    counted = Counted(replicas)
    leases = [Leases(counted.of(n)) for n in range(3)]
    waits = [await leases[n % asked].hit(rate, name) for n in range(4500)]
    # One that asks alone gets all; of three, each may have the rest of a block when the others have none.
    unused = 3000 - waits.count(0)
    assert 0 <= unused <= (asked - 1) * 29
    assert counted.times <= 100 + asked  # not once per request


async def test_of_many_who_find_no_block_one_asks(replicas: list[LimitCounters]) -> None:
    counted = Counted(replicas)
    leases = Leases(counted.of(0))
    rate, name = parse("10000/minute"), secrets.token_hex(4)
    assert set(await asyncio.gather(*(leases.hit(rate, name) for _ in range(100)))) == {0}
    assert counted.times == 1


async def test_a_window_ends_and_the_next_begins(replicas: list[LimitCounters]) -> None:
    rate, name = parse("2/second"), secrets.token_hex(4)
    leases = Leases(replicas[0])
    assert [await leases.hit(rate, name) == 0 for _ in range(3)] == [True, True, False]
    async with asyncio.timeout(10):
        while await leases.hit(rate, name):
            await asyncio.sleep(0.05)


@pytest.mark.finding("24")
@pytest.mark.finding("7")
async def test_of_many_clients_nothing_is_left_after_their_window(
    world: World, replicas: list[LimitCounters]
) -> None:
    async with world.services.database.transaction(TENANT) as session:
        await session.execute(
            sa.text(
                f"INSERT INTO {TABLE} SELECT md5(n::text), 1, now() - interval '1 second'"
                " FROM generate_series(1, 200000) n"
            )
        )
        await session.execute(
            sa.text(
                f"INSERT INTO {TABLE} VALUES ('still', 1, now() + interval '1 hour') ON CONFLICT DO NOTHING"
            )
        )
        then = await session.scalar(sa.text("SELECT now()"))
    assert await tidy_once(world.services.database, replicas[0]) >= 200_000
    async with world.services.database.transaction(TENANT) as session:
        left = await session.scalar(
            sa.text(f"SELECT count(*) FROM {TABLE} WHERE ends_at < :then"), {"then": then}
        )
        still = await session.scalar(sa.text(f"SELECT hits FROM {TABLE} WHERE key = 'still'"))
    assert (left, still) == (0, 1)


async def test_sessions_that_have_ended_are_dropped(world: World, replicas: list[LimitCounters]) -> None:
    past = datetime.now(UTC) - timedelta(days=20)
    async with world.services.database.transaction(TENANT) as session:
        old = await sessions.open_session(session, TENANT, "vera")
        new = await sessions.open_session(session, TENANT, "vera")
        row = await session.get(SessionRow, (TENANT, old.session))
        assert row is not None
        row.created_at, row.expires_at = past, past + timedelta(days=14)
    assert await tidy_once(world.services.database, replicas[0]) >= 1
    async with world.services.database.transaction(TENANT) as session:
        assert await session.get(SessionRow, (TENANT, old.session)) is None
        assert await session.get(SessionRow, (TENANT, new.session)) is not None


@pytest.mark.finding("X11")
async def test_polling_one_route_takes_nothing_from_another_nor_from_another_person(world: World) -> None:
    tight = limited(world, limit_reads="3/minute", limit_writes="2/minute")
    mine, theirs = await somebody(world), await somebody(world)
    async with client(tight) as ask:
        codes = [(await ask.get("/deployments", headers=mine)).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        refused = await ask.get("/deployments", headers=mine)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "too-many-requests"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await ask.get("/nodes", headers=mine)).status_code == 200
        assert (await ask.get("/deployments", headers=theirs)).status_code == 200
        # Two deployments' pages are one route; and writing counts apart from reading.
        codes = [(await ask.get(f"/deployments/d{n}", headers=mine)).status_code for n in range(4)]
        assert codes == [404, 404, 404, 429]
        writer = await somebody(world, Role.DEPLOYER)
        codes = [(await ask.post("/deployments", json={}, headers=writer)).status_code for _ in range(3)]
        assert codes == [422, 422, 429]
        assert (await ask.get("/deployments", headers=writer)).status_code == 200


async def test_a_tenant_has_a_limit_of_its_own(world: World) -> None:
    tight = limited(world, limit_tenant="4/7 minutes")  # a window that no other test counts in
    async with client(tight) as ask:
        paths = ("/deployments", "/nodes", "/clusters", "/modules", "/approvals/pending")
        codes = [(await ask.get(path, headers=await somebody(world))).status_code for path in paths]
    assert codes == [200, 200, 200, 200, 429]


@pytest.mark.finding("X11")
@pytest.mark.parametrize("path", ["/deployments", "/auth/me"])
async def test_without_a_token_nothing_is_counted(world: World, path: str) -> None:
    tight = limited(world, limit_reads="1/minute")
    async with client(tight) as ask:
        assert {(await ask.get(path)).status_code for _ in range(5)} == {401}


@pytest.mark.finding("X11")
async def test_the_sixth_sign_in_within_a_minute_is_refused_before_it_is_checked(world: World) -> None:
    tight = limited(world, limit_sign_in=LimitSettings.model_fields["limit_sign_in"].default)
    body = {"username": f"guessed-{secrets.token_hex(4)}", "password": "wrong"}
    async with client(tight) as ask:
        codes = [(await ask.post("/auth/token", json=body)).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


async def knock(world: World, address: str, forwarded: str | None = None) -> int:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    body = {"username": f"knocking-{secrets.token_hex(4)}", "password": "wrong"}
    async with client(world, address) as ask:
        return (await ask.post("/auth/token", json=body, headers=headers)).status_code


@pytest.mark.finding("X11")
async def test_a_client_cannot_give_itself_another_address(world: World) -> None:
    tight = limited(world, limit_sign_in_address="2/minute")
    codes = [await knock(tight, "192.0.2.1", f"203.0.113.{n}") for n in range(4)]
    assert codes == [401, 401, 429, 429]


async def test_a_trusted_proxy_says_where_the_client_is_and_the_client_adds_nothing(world: World) -> None:
    tight = limited(world, limit_sign_in_address="2/minute", trusted_proxies=["10.0.0.0/8"])
    assert [await knock(tight, "10.1.1.1", "198.51.100.1") for _ in range(3)] == [401, 401, 429]
    assert await knock(tight, "10.1.1.1", "198.51.100.2") == 401
    # The proxy appends what it saw; what the client wrote before counts for nothing.
    assert await knock(tight, "10.1.1.1", "1.2.3.4, 198.51.100.1") == 429
    # Somebody who is not the proxy is counted under his own address.
    assert [await knock(tight, "192.0.2.9", f"203.0.113.{n}") for n in range(3)] == [401, 401, 429]


async def test_a_node_has_its_own_counter(world: World) -> None:
    tight = limited(world, limit_writes="2/11 minutes")
    token = world.services.minter.node(tenant=TENANT, node="silent-2").token
    async with client(tight) as ask:
        asked = [
            await ask.post("/nodes/silent-1/heartbeat", headers={"Authorization": f"Bearer {token}"}, json={})
            for _ in range(3)
        ]
    assert [answer.status_code for answer in asked] == [422, 422, 429]


@pytest.mark.parametrize(
    "bad",
    [
        {"limit_reads": "many"},
        {"limit_sign_in": ""},
        {"trusted_proxies": ["*"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"cors_origins": ["*"]},
        {"cors_origins": ["https://*.example.com"]},
        {"cors_origins": ["https://good.example", "null"]},
        {"cors_origins": ["https://good.example/path"]},
    ],
)
@pytest.mark.finding("17")
def test_limits_proxies_and_origins_that_mean_nothing_or_everything_stop_the_start(
    bad: dict[str, object], no_hotswap_environment: None
) -> None:
    with pytest.raises(ValidationError):
        LimitSettings(**bad)


def test_every_limit_is_set_for_the_other_tests() -> None:
    assert {f"limit_{name}" for name in LIMITS} == {
        name for name in LimitSettings.model_fields if name.startswith("limit_")
    }


async def test_a_good_sign_in_is_not_slowed_by_wrong_ones_of_others(world: World) -> None:
    tight = limited(world, limit_sign_in="5/13 minutes")
    async with client(tight) as ask:
        for _ in range(6):
            await ask.post("/auth/token", json={"username": "somebody-else", "password": "wrong"})
        answer = await ask.post("/auth/token", json={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 200
