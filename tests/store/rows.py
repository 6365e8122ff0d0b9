"""A row of every table for any tenant, made up from the columns alone: new tables need no word here."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.metadata import METADATA
from store.row_security import tenant_column


def value_of(column: sa.Column[Any], tenant: str) -> Any:
    kind = column.type
    if isinstance(kind, JSONB):
        return {}
    if isinstance(kind, ARRAY):
        return []
    if isinstance(kind, sa.LargeBinary):
        return b"x"
    if isinstance(kind, sa.DateTime):
        return sa.func.now()
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Numeric | sa.Integer | sa.Float):
        return 1
    return f'"{tenant}-{column.name}"'  # JSON too, for columns that are made from such text


def fill(superuser_url: str, tenants: tuple[str, ...], tables: Collection[str] | None = None) -> None:
    """One row per tenant in every table, or in the tables of these names.

    Rules of content and foreign keys are out of the way there from then on.
    """
    engine = sa.create_engine(superuser_url)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(sa.text("SELECT audit_month(now())"))
        for table in METADATA.tables.values():
            if tables is not None and table.name not in tables:
                continue
            for check in sa.inspect(connection).get_check_constraints(table.name):
                connection.execute(sa.text(f'ALTER TABLE {table.name} DROP CONSTRAINT "{check["name"]}"'))
            for tenant in tenants:
                values = {
                    column.name: value_of(column, tenant)
                    for column in table.columns
                    if column.identity is None and column.computed is None
                }
                connection.execute(table.insert().values({**values, tenant_column(table): tenant}))
    engine.dispose()
