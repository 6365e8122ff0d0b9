"""After a backup came back, orders count again on nodes that saw more than it knows of."""

import asyncio

import pytest
from sqlalchemy import select

from store import restored, rollouts
from store.database import Database
from store.tables import EnvironmentRow
from tests.conftest import as_owner
from tests.store.conftest import TENANT, planned, queue


async def fence(database: Database, deployment: str) -> int:
    async with database.transaction(TENANT) as session:
        found = await rollouts.stored_plan(session, TENANT, deployment)
    assert found is not None
    return found.fence


@pytest.mark.finding("N12")
async def test_fences_go_on_above_all_that_nodes_can_have_seen(database: Database) -> None:
    await queue(database, "before")
    await planned(database, "before")
    moved = await asyncio.to_thread(restored.leap, as_owner(database.url))
    async with database.transaction(TENANT) as session:
        environments = (await session.scalars(select(EnvironmentRow.name))).all()
    assert moved == len(environments) > 1
    before = await fence(database, "before")
    await queue(database, "after")
    await planned(database, "after")
    assert await fence(database, "after") == before + (restored.LEAP + 1) * rollouts.FENCES_PER_DEPLOYMENT


async def test_afterwards_the_owner_sees_no_tenants_rows_as_before(database: Database) -> None:
    await asyncio.to_thread(restored.leap, as_owner(database.url))
    owner = Database(as_owner(database.url), pool_size=1)
    async with owner.transaction("nobody") as session:
        assert (await session.scalars(select(EnvironmentRow.name))).all() == []
    await owner.dispose()
