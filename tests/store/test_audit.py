"""The audit trail: with the change or not at all, in one chain, and never changed afterwards."""

import asyncio
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from domain.audit import AuditCategory, AuditNote, AuditOutcome, ChainBroken, Origin
from store import audit, audit_months, deployments, events, schema
from store.audit import AuditFilter
from store.bootstrap import bootstrap
from store.database import Database
from store.tables import DeploymentRow, EventRow
from tests.conftest import PostgresServer, as_owner
from tests.store.conftest import TENANT, queue

TEXTS = ["", "é€😀", "two\nlines", 'quotes " and \\ and \\u0000', "nul \0 and half \ud800 a pair"]


def said(subject_id: str = "x", **more: object) -> AuditNote:
    return AuditNote(
        actor="ana",
        action="test.done",
        category=AuditCategory.NODE,
        subject="node",
        subject_id=subject_id,
        **more,
    )


async def add(database: Database, *notes: AuditNote, tenant: str = TENANT) -> None:
    async with database.transaction(tenant) as session:
        for note in notes:
            audit.note(session, note)


async def verified(database: Database, tenant: str = TENANT) -> int:
    async with database.transaction(tenant) as session:
        return (await audit.verify(session, tenant)).sequence


async def test_the_database_hashes_as_the_domain_does_whatever_the_text(database: Database) -> None:
    before = await verified(database)
    await add(database, *(said(text, reason=text, before={text: [text, 1.5, None]}) for text in TEXTS))
    assert await verified(database) == before + len(TEXTS)


async def test_deployments_are_audited_with_who_and_from_where(database: Database) -> None:
    token = audit.ORIGIN.set(Origin(address="192.0.2.7", agent="curl", trace="a" * 32))
    try:
        await queue(database, "d1")
    finally:
        audit.ORIGIN.reset(token)
    async with database.transaction(TENANT) as session:
        page = await audit.list_page(session, TENANT, AuditFilter(trace="a" * 32))
        of_object = await audit.list_page(session, TENANT, AuditFilter(subject="deployment", subject_id="d1"))
        none = await audit.list_page(session, TENANT, AuditFilter(actor="nobody"))
    [entry] = page.items
    assert of_object.items == page.items
    assert none.items == ()
    for part in ('"actor":"ana"', '"address":"192.0.2.7"', '"action":"deployment.queued"', '"agent":"curl"'):
        assert part in entry.content


@pytest.mark.finding("N3")
async def test_both_or_neither_when_the_entry_cannot_be_written(
    database: Database, postgres_server: PostgresServer
) -> None:
    owner = sa.create_engine(as_owner(database.url))
    with owner.begin() as connection:
        connection.execute(sa.text("REVOKE EXECUTE ON FUNCTION audit_append FROM hotswap_application"))
    with pytest.raises(DBAPIError):
        await queue(database, "d1")
    owner.dispose()
    async with database.transaction(TENANT) as session:
        assert (await session.scalars(sa.select(DeploymentRow.id))).all() == []
        assert (await session.scalars(sa.select(EventRow.id))).all() == []


@pytest.mark.finding("N3")
async def test_both_or_neither_when_the_change_cannot_be_written(database: Database) -> None:
    await queue(database, "d1")
    before = await verified(database)
    with pytest.raises(IntegrityError):
        await queue(database, "d1")

    async def fail() -> None:
        async with database.transaction(TENANT) as session:
            audit.note(session, said())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await verified(database) == before


async def test_a_repeated_event_is_audited_once(database: Database) -> None:
    await queue(database, "d1")
    before = await verified(database)
    async with database.transaction(TENANT) as session:
        await deployments.get(session, TENANT, "d1")
        fresh = await events.append(
            session, TENANT, "d1", key="queued", kind=events.EventKind.QUEUED, payload={}
        )
    assert not fresh
    assert await verified(database) == before


async def test_entries_written_at_once_make_one_chain(database: Database) -> None:
    before = await verified(database)
    await asyncio.gather(*(add(database, said(f"{number}")) for number in range(50)))
    assert await verified(database) == before + 50


async def test_each_tenant_has_its_own_chain(database: Database) -> None:
    before = await verified(database)
    await add(database, said(), said(), tenant="other")
    assert await verified(database, "other") == 2
    assert await verified(database) == before
    with pytest.raises(DBAPIError, match="no tenant"):
        await add(database, said(), tenant="")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET content = '{}'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (tenant, sequence, at, content, previous, hash)"
        " VALUES ('default', 99, now(), '{}', '', '')",
        "UPDATE audit_heads SET sequence = 0",
        "DROP TABLE audit_months.audit_{:%Y_%m}",
        "SELECT audit_month(now())",
    ],
)
@pytest.mark.parametrize("who", ["application", "owner"])
@pytest.mark.finding("X19")
async def test_what_is_written_stays(database: Database, statement: str, who: str) -> None:
    """The owner may drop months and move heads: that is retention's work, and `verify` tells of the rest."""
    if who == "owner" and not statement.startswith(("UPDATE audit SET", "DELETE", "TRUNCATE")):
        return
    await add(database, said())
    connected = database if who == "application" else Database(as_owner(database.url), pool_size=1)
    with pytest.raises(DBAPIError) as error:
        async with connected.transaction(TENANT) as session:
            await session.execute(sa.text(statement.format(datetime.now(UTC))))
    assert getattr(error.value.orig, "sqlstate", None) == "42501"
    if who == "owner":
        await connected.dispose()


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        (
            "UPDATE audit SET content = replace(content, 'ana', 'eve') WHERE sequence = {}",
            "entry {} was changed",
        ),
        ("UPDATE audit SET at = at + interval '1 microsecond' WHERE sequence = {}", "entry {} was changed"),
        ("DELETE FROM audit WHERE sequence = {}", "entry {} is missing"),
    ],
)
@pytest.mark.parametrize("back", [0, 1])
async def test_tampering_shows(
    database: Database, postgres_server: PostgresServer, tampering: str, told: str, back: int
) -> None:
    await add(database, said(), said(), said())
    sequence = await verified(database) - back
    with postgres_server.directory.connect(postgres_server.port, database.url.rsplit("/", 1)[1]) as root:
        root.execute("SET session_replication_role = replica")
        root.execute(tampering.format(sequence).encode())
    with pytest.raises(ChainBroken, match=told.format(sequence)):
        await verified(database)


REHASHED = """
    UPDATE audit SET hash = encode(sha256(convert_to(concat_ws(E'\\n', previous, tenant, sequence,
    (extract(epoch FROM at) * 1000000)::bigint, content), 'UTF8')), 'hex') WHERE sequence = {0}
"""


@pytest.mark.finding("X19")
@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        (["DELETE FROM audit WHERE sequence = {0}"], "entry {0} is missing"),
        (
            ["UPDATE audit SET content = replace(content, 'ana', 'eve') WHERE sequence = {0}", REHASHED],
            "entry {0} is another",
        ),
    ],
)
async def test_an_owner_who_mends_the_chain_is_found_out_by_what_was_known_before(
    database: Database, postgres_server: PostgresServer, tampering: list[str], told: str
) -> None:
    """The last entry is left out, or rewritten, and the recorded end made to fit."""
    await add(database, said(), said(), said())
    async with database.transaction(TENANT) as session:
        known = await audit.verify(session, TENANT)
        assert await audit.verify(session, TENANT, known=known) == known
    with postgres_server.directory.connect(postgres_server.port, database.url.rsplit("/", 1)[1]) as root:
        root.execute("SET session_replication_role = replica")
        for statement in tampering:
            root.execute(statement.format(known.sequence).encode())
        root.execute(
            b"UPDATE audit_heads h SET (sequence, hash) = (SELECT sequence, hash FROM audit a"
            b" WHERE a.tenant = h.tenant ORDER BY sequence DESC LIMIT 1)"
        )
    await verified(database)  # the chain alone tells nothing
    async with database.transaction(TENANT) as session:
        with pytest.raises(ChainBroken, match=told.format(known.sequence)):
            await audit.verify(session, TENANT, known=known)


@pytest.mark.finding("X19")
async def test_old_months_are_dropped_whole_and_the_rest_still_verifies(
    database: Database, postgres_server: PostgresServer
) -> None:
    await add(database, said(), said())
    before = await verified(database)
    owner = sa.create_engine(as_owner(database.url))
    today = datetime.now(UTC).date()
    with owner.begin() as connection:
        assert audit_months.drop_before(connection, today, keep_months=1) == []
        month = audit_months.month_name(today)
        later = date(today.year + 1, today.month, 1)
        assert audit_months.drop_before(connection, later, keep_months=12) == []
        assert audit_months.drop_before(connection, later, keep_months=11) == [month]
    owner.dispose()
    assert await verified(database) == before + 1
    async with database.transaction(TENANT) as session:
        kept = await audit.list_page(session, TENANT, AuditFilter())
    assert [entry.sequence for entry in kept.items] == [before + 1]
    assert f'"subject_id":"{month}"' in kept.items[0].content
    await add(database, said(outcome=AuditOutcome.REFUSED))
    assert await verified(database) == before + 2


def test_months_are_counted_back_over_years() -> None:
    names = [audit_months.month_name(date(2026, 2, 28), back=back) for back in (0, 1, 2, 14, 26)]
    assert names == ["audit_2026_02", "audit_2026_01", "audit_2025_12", "audit_2024_12", "audit_2023_12"]


async def test_a_long_chain_is_read_in_batches(database_url: str) -> None:
    await asyncio.to_thread(schema.upgrade, as_owner(database_url))
    fresh = Database(database_url, pool_size=2)
    assert await verified(fresh, "nobody") == 0
    await bootstrap(fresh, tenant="acme", username="root", password="correct horse battery")
    await add(fresh, *(said(f"{number}") for number in range(1200)), tenant="acme")
    async with fresh.transaction("acme") as session:
        first = await audit.batch(session, "acme", AuditFilter(actor="ana"))
        rest = await audit.batch(session, "acme", AuditFilter(actor="ana"), after=first[-1].sequence)
    assert [len(first), len(rest)] == [audit.BATCH, 1200 - audit.BATCH]
    assert await verified(fresh, "acme") == rest[-1].sequence
    await fresh.dispose()
