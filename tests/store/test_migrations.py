"""Migrations go forward over data: nothing is lost, every rule holds for what was there before."""

import asyncio
from pathlib import Path

import sqlalchemy as sa

from store import deployments, events, nodes, schema, tenants, users
from store.database import Database
from store.metadata import METADATA
from store.row_security import open_to_owner
from tests.conftest import as_owner

DATA = Path(__file__).with_name("data_of_0001.sql")


def counts(url: str, names: list[str]) -> dict[str, int]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        open_to_owner(connection)
        found = {
            name: connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names
        }
    engine.dispose()
    return found


async def test_a_populated_database_of_the_first_version_goes_forward(database_url: str) -> None:
    owner = as_owner(database_url)
    await asyncio.to_thread(schema.upgrade, owner, to="0001")
    engine = sa.create_engine(owner)
    with engine.begin() as connection:
        connection.exec_driver_sql(DATA.read_text())
        filled = [name for name in sa.inspect(connection).get_table_names() if name != "alembic_version"]
    engine.dispose()
    before = counts(owner, filled)
    assert all(before.values()), "every table of the first version has rows"

    await asyncio.to_thread(schema.upgrade, owner)
    assert counts(owner, filled) == before
    assert set(filled) <= set(METADATA.tables)

    database = Database(database_url, pool_size=2)
    async with database.transaction("acme") as session:
        assert [user.username for user in (await users.list_page(session, "acme")).items] == ["ana", "bob"]
        page = await deployments.list_page(session, "acme")
        assert {each.description for each in page.items} == {"the 1. of acme", "the 2. of acme"}
        assert len((await nodes.list_page(session, "acme")).items) == 5
        assert len(await events.after(session, "acme", "d-1", 0)) == 1
        stored = await tenants.get(session, "acme")
        assert (stored.state, stored.limits.nodes) == ("active", None)
    async with database.system() as session:
        assert [each.id for each in await tenants.list_all(session)] == ["acme", "globex"]
    await database.dispose()


async def test_no_rule_is_left_unchecked(database_url: str) -> None:
    await asyncio.to_thread(schema.upgrade, as_owner(database_url))
    engine = sa.create_engine(as_owner(database_url))
    with engine.connect() as connection:
        unchecked = connection.scalars(
            sa.text("SELECT conname FROM pg_constraint WHERE NOT convalidated")
        ).all()
    engine.dispose()
    assert unchecked == []
