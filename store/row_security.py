"""Row-level security, the same for every table of tenants.

Applied at the end of every upgrade, from the tables as the code declares them: a new table is covered
without anybody having to think of it, and what somebody has loosened by hand is tight again.
"""

from typing import Final

from sqlalchemy import Connection, Table, text

from store.metadata import METADATA
from store.roles import APPLICATION, SYSTEM, SYSTEM_DROPS, SYSTEM_READS, TENANT_SETTING

_EVERYTHING: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
# The audit trail grows through the function audit_append, and is otherwise read only.
_LESS: Final = {"audit": ("SELECT",), "audit_heads": ("SELECT",)}


def tenant_column(table: Table) -> str:
    """The column that says whose a row is."""
    return "id" if table.name == "tenants" else "tenant"


def secure(connection: Connection) -> None:
    """Switch row-level security on, for the owner too, and give each role what it may do and no more."""
    for table in METADATA.sorted_tables:
        mine = f"{tenant_column(table)} = current_setting('{TENANT_SETTING}', true)"
        policies = {"tenant_isolation": f"FOR ALL TO PUBLIC USING ({mine}) WITH CHECK ({mine})"}
        if table.name in SYSTEM_READS:
            policies["system_reads"] = f"FOR SELECT TO {SYSTEM} USING (true)"
        if table.name in SYSTEM_DROPS:
            policies["system_drops"] = f"FOR DELETE TO {SYSTEM} USING (true)"
        statements = [
            f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY",
            *(f'DROP POLICY "{name}" ON {table.name}' for name in _present(connection, table.name)),
            *(f"CREATE POLICY {name} ON {table.name} {rule}" for name, rule in policies.items()),
            *_grants(table.name),
        ]
        for statement in statements:
            connection.execute(text(statement))


def open_to_owner(connection: Connection) -> None:
    """Let a migration see the rows of all tenants; `secure` ends that, in the same transaction."""
    forced = connection.scalars(
        text("SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relforcerowsecurity")
    ).all()
    for name in forced:
        connection.execute(text(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY"))


def _present(connection: Connection, table: str) -> list[str]:
    known = text("SELECT policyname FROM pg_policies WHERE tablename = :table AND schemaname = 'public'")
    return list(connection.scalars(known, {"table": table}))


def _grants(table: str) -> list[str]:
    given = [
        f"REVOKE ALL ON {table} FROM PUBLIC, {APPLICATION}, {SYSTEM}",
        f"GRANT {', '.join(_LESS.get(table, _EVERYTHING))} ON {table} TO {APPLICATION}",
    ]
    if table in SYSTEM_READS:
        given.append(f"GRANT SELECT ({', '.join(SYSTEM_READS[table])}) ON {table} TO {SYSTEM}")
    if table in SYSTEM_DROPS:
        given.append(f"GRANT DELETE ON {table} TO {SYSTEM}")
    return given
