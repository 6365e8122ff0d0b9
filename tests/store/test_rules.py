"""The database refuses what the domain refuses, and takes what it takes: at each limit, and around it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError

from domain.policy import default_policy
from store import rules, schema
from store.database import Database
from store.metadata import METADATA
from store.tables import EnvironmentRow, TenantRow, UserRow
from store.tables.identity import ApiKeyRow
from tests.conftest import as_owner

SAMPLES = [
    "",
    *("a", "ab", "abc", "a" * 62, "a" * 63, "a" * 64, "a" * 65),
    *("a" * 252, "a" * 253, "a" * 254, "a" * 255, "a" * 256, "a" * 1000, "a" * 1001),
    *(
        "-ab",
        "ab-",
        "a-b",
        "a.b",
        ".ab",
        "ab.",
        "a_b",
        "a@b",
        "a b",
        "Abc",
        "abc\n",
        "\nabc",
        "äbc",
        "a/b",
        "a'b",
    ),
    *("1.0.0", "1.0", "01.0.0", "1.0.0-rc.1", "1.0.0-01", "1.0.0+build.7", "1.0.0-", "1.0.0\n", "v1.0.0"),
    *(f"1.0.0-{'a' * 122}", f"1.0.0-{'a' * 123}"),
    *("0" * 63, "0" * 64, "0" * 65, "g" * 64, "A" * 64),
    *(
        "https://127.0.0.1:7701",
        "http://a:1",
        "https://a",
        "https://a:123456",
        "https://[::1]:1",
        "https://a:1/x",
    ),
]


@pytest_asyncio.fixture(scope="module")
async def checking(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    url = new_database()
    await asyncio.to_thread(schema.upgrade, as_owner(url))
    database = Database(url, pool_size=2)
    yield database
    await database.dispose()


def takes(rule: Any, value: str) -> bool:
    try:
        TypeAdapter(rule).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.finding("3")
@pytest.mark.parametrize(("table", "column", "rule"), rules.RULES)
async def test_the_database_and_the_domain_agree(
    checking: Database, table: str, column: str, rule: Any
) -> None:
    """The very constraint of the migrated table, asked about each sample."""
    name = sa.text("SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = :name")
    async with checking.transaction("any") as session:
        check = str(await session.scalar(name, {"name": f"{table}_{column}_fits_check"}))
        colons = check.replace(":", "\\:")
        asked = sa.text(f"SELECT {colons} FROM (VALUES (CAST(:sample AS text))) AS t({column})")
        for sample in SAMPLES:
            said = await session.scalar(asked, {"sample": sample})
            assert said == takes(rule, sample), (column, sample)
    assert [sample for sample in SAMPLES if takes(rule, sample)]


@pytest.mark.finding("3")
@pytest.mark.parametrize(
    "row",
    [
        {"name": "qa", "position": -1},
        {"name": "QA", "position": 0},
        {"name": "qa", "position": 0, "deadlines": {"node": 0}},
        {"name": "qa", "position": 0, "deadlines": {"wave": 90 * 86400 + 1}},
    ],
)
async def test_bad_environments_are_refused_by_the_database(checking: Database, row: dict[str, Any]) -> None:
    deadlines = row.pop("deadlines", {})
    policy = default_policy("qa").model_dump(mode="json")
    policy["deadlines"] = {**policy["deadlines"], **deadlines}

    async def add() -> None:
        async with checking.transaction("acme") as session:
            session.add(TenantRow(id="acme"))
            await session.flush()
            session.add(EnvironmentRow(tenant="acme", policy=policy, **row))

    with pytest.raises(DBAPIError) as error:
        await add()
    assert getattr(error.value.orig, "sqlstate", None) == "23514"  # check_violation


async def test_enumerations_are_refused_by_the_database(checking: Database) -> None:
    async def add(**user: str) -> None:
        async with checking.transaction("acme") as session:
            session.add(TenantRow(id="acme", **({"tier": user["tier"]} if "tier" in user else {})))
            await session.flush()
            session.add(
                UserRow(tenant="acme", username="ana", password_hash="!", role=user.get("role", "viewer"))
            )

    for wrong in ({"role": "owner"}, {"tier": "gold"}):
        with pytest.raises(DBAPIError) as error:
            await add(**wrong)
        assert getattr(error.value.orig, "sqlstate", None) == "23514"


# Columns of text whose values are words of ours, ids that we draw, or text that is cut to a length.
FREE = {
    "tenants": ["trust"],
    "users": ["password_hash"],
    "api_keys": ["id", "name"],
    "sessions": ["id"],
    "nodes": ["token_id"],
    "releases": ["signer"],
    "freezes": ["id", "reason", "created_by", "removal_reason"],
    "deployments": ["id", "replaces", "waiting_for", "message", "traceparent"],
    "amendments": ["actor", "gate", "message"],
    "promotions": ["id", "waiting_for", "message"],
    "promotion_stages": ["note"],
    "polls": ["id"],
    "analyses": ["analysis"],
    "events": ["key", "kind"],
    "idempotency_keys": ["deployment"],
}


@pytest.mark.finding("3")
@pytest.mark.parametrize("name", [name for name in METADATA.tables if not name.startswith("audit")])
def test_every_column_with_a_type_of_the_domain_has_a_rule(name: str) -> None:
    """A rule of its own, or a key of another table; whoever adds a column finds it here."""
    table = METADATA.tables[name]
    checks = " ".join(str(each.sqltext) for each in table.constraints if isinstance(each, sa.CheckConstraint))
    keys = [column.name for each in table.foreign_key_constraints for column in each.columns]
    plain = [
        column.name
        for column in table.columns
        if isinstance(column.type, sa.Text | sa.Integer | sa.Float)
        and column.identity is None
        and column.name not in keys
        and not re.search(rf"\b{column.name}\b", checks)
    ]
    assert [column for column in plain if column != "transaction"] == FREE.get(name, [])


@pytest.mark.parametrize("scopes", [["read", "own-the-place"], []])
async def test_a_key_has_only_scopes_that_there_are(checking: Database, scopes: list[str]) -> None:
    async def add() -> None:
        async with checking.transaction("acme") as session:
            session.add(TenantRow(id="acme"))
            await session.flush()
            session.add(UserRow(tenant="acme", username="ana", password_hash="!", role="viewer"))
            await session.flush()
            later = datetime.now(UTC) + timedelta(days=1)
            key = {"id": "k", "username": "ana", "name": "k", "secret_hash": "0" * 64, "expires_at": later}
            session.add(ApiKeyRow(tenant="acme", scopes=scopes, **key))

    with pytest.raises(DBAPIError) as error:
        await add()
    assert getattr(error.value.orig, "sqlstate", None) == "23514"
