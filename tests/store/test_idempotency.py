"""Idempotency keys: for a day, for one body, dropped in batches."""

import pytest
import sqlalchemy as sa

from store import idempotency
from store.database import Database
from store.idempotency import KeyReused
from store.tables import IdempotencyKeyRow
from tests.store.conftest import TENANT

OLD = sa.text("now() - interval '24 hours 1 second'")
MANY = 2500


async def claim(database: Database, key: str, deployment: str, body: str = "b" * 64) -> str:
    async with database.transaction(TENANT) as session:
        return await idempotency.claim(
            session, TENANT, "ana", key=key, body_digest=body, deployment=deployment
        )


async def test_a_key_is_good_for_one_body_and_one_day(database: Database) -> None:
    assert await claim(database, "k", "d1") == "d1"
    assert await claim(database, "k", "d2") == "d1"
    with pytest.raises(KeyReused):
        await claim(database, "k", "d2", body="0" * 64)
    async with database.transaction(TENANT) as session:
        await session.execute(sa.update(IdempotencyKeyRow).values(created_at=OLD))
    assert await claim(database, "k", "d3", body="0" * 64) == "d3"


@pytest.mark.finding("7")
async def test_keys_that_are_never_read_again_go_in_batches(database: Database) -> None:
    rows = [
        {"tenant": TENANT, "username": "ana", "key": f"k{number}", "body_digest": "b" * 64, "deployment": "d"}
        for number in range(MANY)
    ]
    async with database.transaction(TENANT) as session:
        await session.execute(sa.insert(IdempotencyKeyRow).values(created_at=OLD), rows)
    await claim(database, "young", "d1")
    batches = []
    while True:
        async with database.system() as session:
            batches.append(await idempotency.purge(session, limit=1000))
        if not batches[-1]:
            break
    assert batches == [1000, 1000, 500, 0]
    async with database.transaction(TENANT) as session:
        assert (await session.scalars(sa.select(IdempotencyKeyRow.key))).all() == ["young"]
