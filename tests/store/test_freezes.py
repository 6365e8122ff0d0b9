"""Freezes in a real database: who added what, whether it holds, and an event for whom it concerns."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.calendar import MOST_WINDOWS, CalendarWindow
from domain.errors import Conflict, InvalidInput, NotFound
from domain.events import EventKind
from domain.freeze import Freeze
from domain.freeze_orders import AdHocFreeze, Thaw
from store import events, freezes
from store.database import Database
from tests.store.conftest import TENANT, queue

NOW = datetime.now(UTC).replace(microsecond=0)


def window(start: timedelta, end: timedelta, name: str = "feast", **facts: str) -> CalendarWindow:
    begins, ends = ((NOW + each).replace(tzinfo=None) for each in (start, end))
    return CalendarWindow(name=name, reason="a feast", zone="UTC", starts=begins, ends=ends, **facts)


AROUND = window(timedelta(hours=-1), timedelta(hours=5))
LATER = window(timedelta(hours=4), timedelta(hours=9), "later")


async def add(database: Database, made: CalendarWindow, environment: str = "production") -> str:
    async with database.transaction(TENANT) as session:
        return (await freezes.add_window(session, TENANT, environment, made, "admin")).id


async def state(database: Database, after: timedelta = timedelta(0)) -> Freeze | None:
    async with database.transaction(TENANT) as session:
        return await freezes.at(session, TENANT, "production", (NOW + after).timestamp())


def order(key: str, until: timedelta | None = None) -> AdHocFreeze:
    return AdHocFreeze(
        tenant=TENANT,
        environment="production",
        key=key,
        actor="ana",
        reason="it burns",
        until=(NOW + until).timestamp() if until else None,
    )


async def test_calendar_and_people_freeze_together(database: Database) -> None:
    await queue(database)
    assert await state(database) is None
    await add(database, AROUND)
    await add(database, LATER)
    found = await state(database)
    assert found is not None
    assert found.until == (NOW + timedelta(hours=9)).timestamp()
    for _repeat in range(2):
        async with database.transaction(TENANT) as session:
            await freezes.freeze(session, order("k1", timedelta(hours=8, minutes=30)))
    found = await state(database)
    assert found is not None
    assert (found.until, "it burns" in found.reason) == ((NOW + timedelta(hours=9)).timestamp(), True)
    async with database.transaction(TENANT) as session:
        await freezes.freeze(session, order("k2"))
    found = await state(database)
    assert found is not None
    assert found.until is None
    async with database.transaction(TENANT) as session:
        thaw = Thaw(tenant=TENANT, environment="production", actor="bob", reason="it is out")
        assert await freezes.thaw(session, thaw) == 2
        assert await freezes.thaw(session, thaw) == 0
        await freezes.remove(session, TENANT, "production", "feast", actor="admin", reason="cancelled")
        with pytest.raises(NotFound):
            await freezes.remove(session, TENANT, "production", "feast", actor="admin", reason="again")
    assert await state(database) is None
    assert await state(database, timedelta(hours=6)) is not None
    async with database.transaction(TENANT) as session:
        all_ = await freezes.of_environment(session, TENANT, "production", removed=True)
        told = await events.after(session, TENANT, "d1", 0)
    assert [each.removed_by for each in all_ if each.id in {"k1", "k2"}] == ["bob", "bob"]
    kinds = [event.kind for event in told]
    assert kinds.count(EventKind.FREEZE_ADDED) == 4
    assert kinds.count(EventKind.FREEZE_REMOVED) == 3


async def test_what_cannot_be_is_refused_and_nothing_is_written(database: Database) -> None:
    await add(database, AROUND)
    with pytest.raises(Conflict) as refused:
        await add(database, AROUND)
    assert refused.value.field == "name"
    with pytest.raises(InvalidInput, match="never opens") as never:
        await add(database, window(timedelta(hours=5), timedelta(days=365, hours=4), "long"))
    assert never.value.field == "ends"
    with pytest.raises(NotFound):
        await add(database, LATER, "nowhere")
    async with database.transaction(TENANT) as session:
        assert len(await freezes.of_environment(session, TENANT, "production")) == 1
    await add(database, AROUND, "qa")


async def test_two_who_add_at_once_cannot_close_the_environment_together(database: Database) -> None:
    halves = (
        window(timedelta(0), timedelta(days=200), "first"),
        window(timedelta(days=200), timedelta(days=390), "second"),
    )
    outcomes = await asyncio.gather(*(add(database, each) for each in halves), return_exceptions=True)
    assert sorted(isinstance(each, InvalidInput) for each in outcomes) == [False, True]


async def test_a_calendar_has_a_limit(database: Database) -> None:
    for number in range(MOST_WINDOWS):
        start = timedelta(days=-number - 2)
        await add(database, window(start, start + timedelta(hours=1), f"w-{number}"))
    with pytest.raises(Conflict, match="limit"):
        await add(database, LATER)


async def test_a_queue_that_missed_the_thaw_is_found(database: Database) -> None:
    async def missed() -> bool:
        async with database.transaction(TENANT) as session:
            return await freezes.missed_the_thaw(session, TENANT, "production")

    async with database.transaction(TENANT) as session:
        await freezes.freeze(session, order("k1"))
    await queue(database)
    assert not await missed()
    async with database.transaction(TENANT) as session:
        await freezes.thaw(session, Thaw(tenant=TENANT, environment="production", actor="bob", reason="over"))
    assert await missed()
