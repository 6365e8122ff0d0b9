"""The tenant's feed: in one order, nothing missed and nothing twice, whatever commits when."""

import asyncio

from domain.events import EventKind
from store import events, feed
from store.database import Database
from store.feed import FeedEvent, Position
from tests.store.conftest import TENANT, queue


async def read(database: Database, position: Position | None, limit: int = 100) -> tuple[FeedEvent, ...]:
    async with database.transaction(TENANT) as session:
        return (await feed.after(session, TENANT, position, limit=limit)).items


async def settled(database: Database, count: int) -> tuple[FeedEvent, ...]:
    """The first so many events; other databases' transactions hold the feed back for a moment."""
    async with asyncio.timeout(30):
        while len(found := await read(database, None)) < count:
            await asyncio.sleep(0.02)
    return found


async def test_an_event_that_commits_late_is_not_missed(database: Database) -> None:
    await queue(database, "d1")
    await queue(database, "d2")
    async with database.transaction(TENANT) as slow:
        await events.append(slow, TENANT, "d1", key="late", kind=EventKind.COMMAND, payload={"n": 1})
        async with database.transaction(TENANT) as quick:
            await events.append(quick, TENANT, "d2", key="early", kind=EventKind.COMMAND, payload={"n": 2})
        meanwhile = await read(database, None)
        cursor = meanwhile[-1].position if meanwhile else None
        assert "early" not in [each.event.payload.get("n") for each in meanwhile]
    everything = await settled(database, 4)
    seen = [*meanwhile, *await read(database, cursor)]
    assert seen == list(everything)
    assert sorted(str(each.event.payload.get("n")) for each in everything) == ["1", "2", "None", "None"]


async def test_pages_join(database: Database) -> None:
    for number in range(7):
        await queue(database, f"d{number}")
    everything = await settled(database, 7)
    joined: list[FeedEvent] = []
    while page := await read(database, joined[-1].position if joined else None, limit=3):
        joined += page
    assert joined == list(everything)
