"""What many ask at the same moment is asked once, and an answer from before a revocation is not kept."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from api.identity import Standings
from api.together import Together
from domain.identity import TokenRevoked
from domain.roles import Role
from store import sessions
from store.database import Database
from tests.api.conftest import TENANT, World

ASKERS = 50


async def test_of_many_one_asks_and_all_get_the_answer_or_the_error() -> None:
    asking: Together[int] = Together()
    times = Counter[str]()

    async def well() -> int:
        times["well"] += 1
        await asyncio.sleep(0)
        return times["well"]

    async def badly() -> int:
        times["badly"] += 1
        await asyncio.sleep(0)
        raise ValueError("no")

    assert set(await asyncio.gather(*(asking.ask("a", well) for _ in range(ASKERS)))) == {1}
    assert await asking.ask("a", well) == 2  # what was answered is over
    errors = await asyncio.gather(*(asking.ask("b", badly) for _ in range(ASKERS)), return_exceptions=True)
    assert Counter(map(type, errors)) == {ValueError: ASKERS}
    assert times == {"well": 2, "badly": 1}


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    asking: Together[str] = Together()
    go = asyncio.Event()

    async def answer() -> str:
        await go.wait()
        return "said"

    first, second = (asyncio.create_task(asking.ask("a", answer)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == "said"
    assert first.cancelled()


@pytest.mark.finding("4")
async def test_many_requests_of_one_person_look_him_up_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Counter[str]()
    transaction = Database.transaction

    def counted(database: Database, tenant: str) -> object:
        begun[tenant] += 1
        return transaction(database, tenant)

    standings, token = Standings(), world.token("vera")
    monkeypatch.setattr(Database, "transaction", counted)
    callers = await asyncio.gather(*(standings.caller(world.services, token) for _ in range(ASKERS)))
    assert {caller.username for caller in callers} == {"vera"}
    assert begun == {TENANT: 1}


async def test_an_answer_from_before_a_revocation_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up has read the session's row when it is revoked: those who ask afterwards hear of that."""
    database, look_up = world.services.database, sessions.standing
    read, go = asyncio.Event(), asyncio.Event()

    async def slow(*what: Any) -> Any:
        found = await look_up(*what)
        read.set()
        await go.wait()
        return found

    async with database.transaction(TENANT) as session:
        opened = await sessions.open_session(session, TENANT, "vera")
    token = world.services.minter.user(
        tenant=TENANT, username="vera", role=Role.VIEWER, session=opened.session
    ).token
    monkeypatch.setattr(sessions, "standing", slow)
    standings = Standings()
    before = asyncio.create_task(standings.caller(world.services, token))
    await read.wait()
    async with database.transaction(TENANT) as session:
        await sessions.end(session, TENANT, opened.session)
    standings.forget()
    go.set()
    assert (await before).username == "vera"
    with pytest.raises(TokenRevoked):
        await standings.caller(world.services, token)
