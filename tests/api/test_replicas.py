"""Three API processes on one database and one Temporal: whichever is asked, the answer is the same.

Started as the product starts them. Minutes of one processor, so `make test-races` runs it.
"""

import asyncio
import itertools
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus

import httpx
import jwt
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from api.identity import STANDING_SECONDS
from domain.deployment import Phase
from domain.identity import FAILURES_ALLOWED
from domain.node import Node
from domain.roles import Role
from store import nodes
from store.tables import DeploymentRow, UserRow
from tests.api.conftest import TENANT, World
from tests.api.serving import PATIENCE, serving
from tests.api.test_identity import person
from tests.api.test_limits import somebody
from tests.api.test_server import queue, read, write

pytestmark = [pytest.mark.races_long, pytest.mark.timeout(300)]

REPLICAS = 3
WRITES = 60  # a minute per person and route; below 200 a limit is exact (docs/adr/0019)
ROTATIONS = 3

Replica = httpx.AsyncClient
Replicas = list[Replica]


@pytest_asyncio.fixture(scope="module")
async def replicas(own_world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Clients of the three processes."""
    logs = tmp_path_factory.mktemp("replicas")
    node = Node(name="silent-1", environment="production", address="https://127.0.0.1:1")
    async with own_world.services.database.transaction(TENANT) as session:
        await nodes.register(session, TENANT, node)
    async with AsyncExitStack() as stack:
        settings = {"limit_writes": f"{WRITES}/minute"}
        started = (
            stack.enter_async_context(serving(own_world, logs, settings=settings)) for _ in range(REPLICAS)
        )
        yield [client for _, client in await asyncio.gather(*started)]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def me(replica: Replica, token: str) -> int:
    return (await replica.get("/auth/me", headers=bearer(token))).status_code


async def keyring(world: World, command: str) -> None:
    """The command that operators use, as a process of its own."""
    settings = world.services.settings
    keys = ("--private", str(settings.jwt_private_key_file), "--public", str(settings.jwt_public_key_file))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "runtime.keyring", command, *keys)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


class Visitor:
    """Somebody who signs in once and then goes from replica to replica, with a new token at each."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self.answers: Counter[int] = Counter()
        self.token = ""
        self.signed_by: list[set[str]] = [set() for _ in replicas]

    async def visit(self, name: str, password: str, over: asyncio.Event) -> None:
        body = {"username": name, "password": password}
        pair = (await self._replicas[0].post("/auth/token", json=body)).json()
        for number, replica in itertools.cycle(enumerate(self._replicas)):
            if over.is_set():
                return
            answer = await replica.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
            self.answers[answer.status_code] += 1
            before, pair = pair, answer.json()
            self.token = str(pair["access_token"])
            self.signed_by[number].add(jwt.get_unverified_header(self.token)["kid"])
            for token in (before["access_token"], self.token):
                self.answers.update(await asyncio.gather(*(me(each, token) for each in self._replicas)))


@pytest.mark.finding("N15")
@pytest.mark.finding("N10")
@pytest.mark.finding("X10")
async def test_rotations_under_load_lose_no_request_and_the_old_key_ends_on_all(
    own_world: World, replicas: Replicas
) -> None:
    over = asyncio.Event()
    visitors = [Visitor(replicas) for _ in range(4)]
    people = [await person(own_world, Role.VIEWER) for _ in visitors]
    visits = [
        asyncio.create_task(visitor.visit(*who, over)) for visitor, who in zip(visitors, people, strict=True)
    ]
    tokens = []
    async with asyncio.timeout(120):
        for number in range(1, ROTATIONS + 2):
            while not all(len(keys) >= number for visitor in visitors for keys in visitor.signed_by):
                await asyncio.sleep(0.05)
            tokens.append(visitors[0].token)
            if number <= ROTATIONS:
                await keyring(own_world, "rotate")
    over.set()
    await asyncio.gather(*visits)
    total = sum((visitor.answers for visitor in visitors), Counter[int]())
    print(f"\n{ROTATIONS} rotations under {total.total()} requests to {REPLICAS} processes: {dict(total)}")
    assert set(total) == {HTTPStatus.OK}

    *old, fresh = tokens
    assert [await me(each, token) for each in replicas for token in old] == [200] * REPLICAS * len(old)
    await keyring(own_world, "retire")
    async with asyncio.timeout(PATIENCE):
        for replica, token in itertools.product(replicas, old):
            while await me(replica, token) != HTTPStatus.UNAUTHORIZED:
                await asyncio.sleep(0.1)
    assert [await me(each, fresh) for each in replicas] == [200] * REPLICAS


@pytest.mark.finding("N15")
@pytest.mark.finding("24")
async def test_a_limit_is_exact_over_three_processes(own_world: World, replicas: Replicas) -> None:
    for number in range(3):
        who = await somebody(own_world, Role.ADMIN)
        asked = (
            replicas[n % REPLICAS].put(f"/groups/exact-{number}", json={"members": []}, headers=who)
            for n in range(3 * WRITES)
        )
        codes = Counter(answer.status_code for answer in await asyncio.gather(*asked))
        assert codes == {HTTPStatus.OK: WRITES, HTTPStatus.TOO_MANY_REQUESTS: 2 * WRITES}


@pytest.mark.finding("N15")
@pytest.mark.finding("X12")
async def test_a_session_that_one_ends_is_refused_by_all(own_world: World, replicas: Replicas) -> None:
    """At once where it was ended; elsewhere when what was remembered of it is too old."""
    here, *elsewhere = replicas
    name, password = await person(own_world)
    pair = (await here.post("/auth/token", json={"username": name, "password": password})).json()
    token = pair["access_token"]
    assert [await me(each, token) for each in replicas] == [200] * REPLICAS
    ended = time.monotonic()
    assert (await here.post("/auth/logout", headers=bearer(token))).status_code == HTTPStatus.NO_CONTENT
    assert await me(here, token) == HTTPStatus.UNAUTHORIZED
    async with asyncio.timeout(PATIENCE):
        for replica in elsewhere:
            while await me(replica, token) != HTTPStatus.UNAUTHORIZED:
                await asyncio.sleep(0.05)
    print(
        f"\nrefused by all {time.monotonic() - ended:.1f} s later; what is remembered counts"
        f" for {STANDING_SECONDS:.0f} s"
    )
    refused = [
        await each.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}) for each in replicas
    ]
    assert {answer.status_code for answer in refused} == {HTTPStatus.UNAUTHORIZED}


@pytest.mark.finding("N15")
async def test_a_stream_goes_on_at_another_process(own_world: World, replicas: Replicas) -> None:
    """Each event once and in order, though every event is read at another process than the one before."""
    await queue(own_world, "moved")
    vera = bearer(own_world.token("vera"))
    found = []
    phases = [None, Phase.PLANNING, None, None, None, Phase.FAILED]
    async with asyncio.timeout(60):
        for number, phase in enumerate(phases):
            if number:
                await write(own_world, "moved", str(number), phase)
            last = {"Last-Event-ID": found[-1]["sse"]["id"]} if found else {}
            path = "/deployments/moved/events"
            async with replicas[number % REPLICAS].stream("GET", path, headers={**vera, **last}) as answer:
                found += await read(answer, 1)
    assert [event["message"] for event in found[1:]] == [f"message {n}" for n in range(1, len(phases))]
    seen = {"Last-Event-ID": found[-1]["sse"]["id"]}
    over = [await each.get("/deployments/moved/events", headers={**vera, **seen}) for each in replicas]
    assert {answer.status_code for answer in over} == {HTTPStatus.NO_CONTENT}


@pytest.mark.finding("N15")
async def test_an_idempotency_key_at_three_processes_at_once_makes_one_deployment(
    own_world: World, replicas: Replicas
) -> None:
    assert (await own_world.push(own_world.releases.files("1.0.0", module="once"))).is_success
    body = {"module": "once", "version": "1.0.0", "environment": "production", "strategy": "direct"}
    for _ in range(5):
        headers = {**await somebody(own_world, Role.DEPLOYER), "Idempotency-Key": secrets.token_hex(8)}
        before = await deployments_of(own_world, "once")
        asked = (replicas[n % REPLICAS].post("/deployments", json=body, headers=headers) for n in range(12))
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {HTTPStatus.ACCEPTED}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert await deployments_of(own_world, "once") == before + 1
        other = await replicas[1].post(
            "/deployments", json={**body, "description": "another"}, headers=headers
        )
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def deployments_of(world: World, module: str) -> int:
    async with world.services.database.transaction(TENANT) as session:
        counted = select(func.count()).select_from(DeploymentRow).where(DeploymentRow.module == module)
        return await session.scalar(counted) or 0


@pytest.mark.finding("N15")
@pytest.mark.finding("X12")
async def test_guesses_and_refreshes_at_three_processes_have_one_limit_and_one_winner(
    own_world: World, replicas: Replicas
) -> None:
    name, password = await person(own_world)
    pair = (await replicas[0].post("/auth/token", json={"username": name, "password": password})).json()
    body = {"refresh_token": pair["refresh_token"]}
    traded = await asyncio.gather(
        *(replicas[n % REPLICAS].post("/auth/refresh", json=body) for n in range(12))
    )
    assert sorted(answer.status_code for answer in traded) == [200, *[401] * 11]
    guess = {"username": name, "password": "wrong"}
    guesses = await asyncio.gather(
        *(replicas[n % REPLICAS].post("/auth/token", json=guess) for n in range(30))
    )
    assert {answer.status_code for answer in guesses} == {HTTPStatus.UNAUTHORIZED}
    async with own_world.services.database.transaction(TENANT) as session:
        kept = await session.get(UserRow, (TENANT, name))
    assert kept is not None
    assert kept.failures == FAILURES_ALLOWED
    right = {"username": name, "password": password}
    locked = [await each.post("/auth/token", json=right) for each in replicas]
    assert {answer.status_code for answer in locked} == {HTTPStatus.UNAUTHORIZED}
