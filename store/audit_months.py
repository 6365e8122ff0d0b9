"""The months of the audit trail: one partition each, dropped whole when they are too old.

The database makes a month with its first entry. Dropping is the owner's work, on a schedule:
`python -m store audit-retention`.
"""

from datetime import UTC, date, datetime

from sqlalchemy import Connection, column, create_engine, select, table, text
from sqlalchemy.dialects.postgresql import distinct_on

from domain.audit import SYSTEM_ACTOR, AuditCategory, AuditNote, Origin
from store.roles import TENANT_SETTING


def drop_old(url: str, *, keep_months: int) -> list[str]:
    """Drop the months that ended more than `keep_months` months ago, as the owner; their names."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            return drop_before(connection, datetime.now(UTC).date(), keep_months=keep_months)
    finally:
        engine.dispose()


def drop_before(connection: Connection, today: date, *, keep_months: int) -> list[str]:
    """The same within a transaction of the owner's, as of a day.

    Each tenant's chain remembers where its kept part begins, and says in an entry what was dropped.
    """
    oldest = month_name(today, back=keep_months)
    present = text("SELECT tablename FROM pg_tables WHERE schemaname = 'audit_months' ORDER BY tablename")
    dropped = [name for name in connection.scalars(present) if name < oldest]
    for name in dropped:
        month = table(name, column("tenant"), column("sequence"), column("hash"), schema="audit_months")
        last = (
            select(month).ext(distinct_on(month.c.tenant)).order_by(month.c.tenant, month.c.sequence.desc())
        )
        ends = connection.execute(last).all()
        connection.execute(text(f"DROP TABLE audit_months.{name}"))
        for tenant, sequence, end in ends:
            _remember(connection, tenant, name, sequence, end)
    return dropped


def month_name(day: date, *, back: int = 0) -> str:
    """The partition of the month so many months before a day's."""
    year, month = divmod(day.year * 12 + day.month - 1 - back, 12)
    return f"audit_{year:04}_{month + 1:02}"


def _remember(connection: Connection, tenant: str, month: str, sequence: int, end: str) -> None:
    connection.execute(text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)"), {"tenant": tenant})
    entry = AuditNote(
        actor=SYSTEM_ACTOR,
        action="audit.dropped",
        category=AuditCategory.TENANT,
        subject="audit",
        subject_id=month,
        after={"up_to": sequence},
    )
    connection.execute(text("SELECT audit_append(:entries)"), {"entries": [entry.content(Origin())]})
    connection.execute(
        text("UPDATE audit_heads SET dropped = :sequence, dropped_hash = :hash WHERE tenant = :tenant"),
        {"sequence": sequence, "hash": end, "tenant": tenant},
    )
