"""Row-level security: on every table, for every role, and nothing of it outlives a transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from domain.errors import InvalidInput
from store import row_security, schema
from store.database import Database
from store.metadata import METADATA
from store.roles import APPLICATION, SYSTEM, SYSTEM_READS
from store.row_security import tenant_column
from store.tables import TenantRow, UserRow
from tests.conftest import PostgresServer, as_owner
from tests.store.rows import fill

OURS, THEIRS = "ours", "theirs"
NOT_ALLOWED = "42501"  # PostgreSQL's insufficient_privilege
TABLES = sorted(METADATA.tables)


@pytest_asyncio.fixture(scope="module")
async def url(postgres_server: PostgresServer, new_database: Callable[[], str]) -> str:
    url = new_database()
    await asyncio.to_thread(schema.upgrade, as_owner(url))
    superuser = postgres_server.directory.url(postgres_server.port, url.rsplit("/", 1)[1])
    await asyncio.to_thread(fill, superuser, (OURS, THEIRS))
    return url


@pytest_asyncio.fixture(scope="module")
async def two(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=1)
    yield database
    await database.dispose()


def refused(error: pytest.ExceptionInfo[DBAPIError]) -> bool:
    return getattr(error.value.orig, "sqlstate", None) == NOT_ALLOWED


async def changed(database: Database, statement: sa.Update | sa.Delete) -> int:
    """How many rows it changed; none where the application may not change the table at all."""
    try:
        async with database.transaction(OURS) as session:
            return (await session.execute(statement)).rowcount
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_ALLOWED:
            raise
        return 0


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.finding("15")
def test_every_table_has_it_forced(url: str, name: str) -> None:
    engine = sa.create_engine(as_owner(url))
    with engine.connect() as connection:
        state = connection.execute(
            sa.text(
                "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = CAST(:name AS regclass)"
            ),
            {"name": name},
        ).one()
        policies = connection.execute(
            sa.text(
                "SELECT policyname, roles::text[], qual, with_check FROM pg_policies WHERE tablename = :name"
            ),
            {"name": name},
        ).all()
    engine.dispose()
    assert tuple(state) == (True, True)
    rule = f"({tenant_column(METADATA.tables[name])} = current_setting('hotswap.tenant'::text, true))"
    of_everybody = [policy for policy in policies if policy.roles == ["public"]]
    assert [(each.qual, each.with_check) for each in of_everybody] == [(rule, rule)]
    assert all(policy.roles in (["public"], [SYSTEM]) for policy in policies)


async def test_the_application_owns_nothing_and_bypasses_nothing(two: Database) -> None:
    async with two.transaction(OURS) as session:
        role = await session.execute(
            sa.text("SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user")
        )
        owned = await session.execute(
            sa.text("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user")
        )
        assert tuple(role.one()) == (False, False, False)
        assert owned.all() == []


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.finding("15")
async def test_rows_of_another_tenant_are_not_there(two: Database, name: str) -> None:
    table = METADATA.tables[name]
    whose = table.columns[tenant_column(table)]
    for mine, other in ((OURS, THEIRS), (THEIRS, OURS)):
        async with two.transaction(mine) as session:
            seen = await session.scalars(sa.select(whose))
            assert set(seen) <= {mine}
            assert await session.scalar(sa.select(sa.func.count()).where(whose == other)) == 0
    async with two.transaction("nobody") as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(table)) == 0


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.finding("15")
async def test_rows_of_another_tenant_cannot_be_written(two: Database, name: str) -> None:
    table = METADATA.tables[name]
    whose = table.columns[tenant_column(table)]
    for statement in (
        sa.update(table).where(whose == THEIRS).values({whose: THEIRS}),
        sa.delete(table).where(whose == THEIRS),
    ):
        assert await changed(two, statement) == 0
    with pytest.raises(DBAPIError) as error:
        async with two.transaction(OURS) as session:
            await session.execute(sa.update(table).values({whose: THEIRS}))
    assert refused(error)


async def test_nothing_outlives_a_transaction(two: Database) -> None:
    """The pool has one connection: what one transaction leaves on it, the next would find."""
    users = sa.select(sa.func.count()).select_from(UserRow)

    async def seen_without_a_tenant() -> int | None:
        async with two._sessions() as session, session.begin():
            return await session.scalar(users)

    async with two.transaction(OURS) as session:
        assert await session.scalar(users) == 1
    assert await seen_without_a_tenant() == 0
    with pytest.raises(ZeroDivisionError):
        async with two.transaction(OURS) as session:
            raise ZeroDivisionError
    assert await seen_without_a_tenant() == 0
    async with two.system():
        pass
    assert await seen_without_a_tenant() == 0
    async with two.transaction(THEIRS) as session:
        assert await session.scalar(sa.text("SELECT current_user")) != SYSTEM
        assert set(await session.scalars(sa.select(UserRow.tenant))) == {THEIRS}


async def test_the_system_sees_what_is_listed_of_all_tenants(two: Database) -> None:
    async with two.system() as session:
        for name, columns in SYSTEM_READS.items():
            table = METADATA.tables[name]
            rows = (await session.execute(sa.select(*(table.columns[column] for column in columns)))).all()
            assert len(rows) == 2, name


@pytest.mark.parametrize("name", TABLES)
async def test_the_system_sees_nothing_else_and_writes_nothing(two: Database, name: str) -> None:
    table = METADATA.tables[name]
    hidden = [column for column in table.columns if column.name not in SYSTEM_READS.get(name, ())]
    forbidden = [sa.select(column) for column in hidden]
    whose = table.columns[tenant_column(table)]
    forbidden += [sa.update(table).values({whose: OURS}), sa.text(f"INSERT INTO {name} DEFAULT VALUES")]
    for statement in forbidden:
        with pytest.raises(DBAPIError) as error:
            async with two.system() as session:
                await session.execute(statement)
        assert refused(error), statement


@pytest.mark.parametrize(
    "attempt",
    [
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant_isolation ON users",
        "SET LOCAL ROLE hotswap_owner",
        "SET LOCAL ROLE postgres",
        "CREATE TABLE mine (x int)",
        "TRUNCATE users",
        "SET LOCAL row_security = off; SELECT * FROM users",
    ],
)
async def test_the_application_cannot_help_itself(two: Database, attempt: str) -> None:
    async def help_itself() -> None:
        async with two.transaction(OURS) as session:
            for statement in attempt.split("; "):
                await session.execute(sa.text(statement))

    with pytest.raises(DBAPIError) as error:
        await help_itself()
    assert refused(error)


async def test_only_a_role_that_is_bound_may_serve(url: str, postgres_server: PostgresServer) -> None:
    ours = Database(url, pool_size=1)
    await ours.require_bound_role()
    await ours.dispose()
    superuser = postgres_server.directory.url(postgres_server.port, url.rsplit("/", 1)[1])
    for other in (as_owner(url), superuser):
        database = Database(other, pool_size=1)
        with pytest.raises(InvalidInput) as error:
            await database.require_bound_role()
        assert error.value.field == "database_url"
        await database.dispose()


async def test_the_owner_is_bound_too(url: str) -> None:
    owner = Database(as_owner(url), pool_size=1)
    async with owner.transaction(OURS) as session:
        assert set(await session.scalars(sa.select(TenantRow.id))) == {OURS}
    await owner.dispose()


def test_an_upgrade_tightens_what_was_loosened(database_url: str) -> None:
    owner = as_owner(database_url)
    schema.upgrade(owner)
    engine = sa.create_engine(owner)
    with engine.begin() as connection:
        row_security.open_to_owner(connection)
        connection.execute(sa.text("ALTER TABLE users DISABLE ROW LEVEL SECURITY"))
        connection.execute(sa.text("CREATE POLICY extra ON nodes USING (true)"))
        connection.execute(sa.text(f"GRANT TRUNCATE ON users TO {APPLICATION}"))
    schema.upgrade(owner)
    with engine.connect() as connection:
        states = connection.execute(
            sa.text(
                "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
                " WHERE relname = ANY(:names) ORDER BY relname"
            ),
            {"names": TABLES},
        ).all()
        assert [tuple(state) for state in states] == [(name, True, True) for name in TABLES]
        assert "extra" not in connection.scalars(sa.text("SELECT policyname FROM pg_policies")).all()
        truncates = sa.text(f"SELECT has_table_privilege('{APPLICATION}', 'users', 'TRUNCATE')")
        assert not connection.scalar(truncates)
    engine.dispose()
