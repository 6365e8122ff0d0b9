"""The tables of the audit trail. Rows come in through audit_append only, and stay as they are."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index
from sqlalchemy.orm import Mapped, mapped_column

from domain.audit import FIRST
from store.tables.base import Table


def _said(*path: str) -> Computed:
    return Computed(f"(content::jsonb #>> '{{{','.join(path)}}}')", persisted=True)


class AuditRow(Table):
    """One entry; `content` is what its hash covers, the columns after `hash` are taken from it for searching.

    Partitioned by month; the partitions lie in the schema `audit_months`.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "tenant", "actor", "sequence"),
        Index(None, "tenant", "category", "sequence"),
        Index(None, "tenant", "subject_id", "sequence"),
        Index(None, "tenant", "trace", "sequence"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    content: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]
    actor: Mapped[str | None] = mapped_column(_said("actor"))
    action: Mapped[str | None] = mapped_column(_said("action"))
    category: Mapped[str | None] = mapped_column(_said("category"))
    outcome: Mapped[str | None] = mapped_column(_said("outcome"))
    subject: Mapped[str | None] = mapped_column(_said("subject"))
    subject_id: Mapped[str | None] = mapped_column(_said("subject_id"))
    trace: Mapped[str | None] = mapped_column(_said("origin", "trace"))


class AuditHeadRow(Table):
    """The end of each tenant's chain, and where the kept part of it begins."""

    __tablename__ = "audit_heads"
    __table_args__ = (CheckConstraint("sequence >= dropped AND dropped >= 0", name="order"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    hash: Mapped[str] = mapped_column(server_default=FIRST)
    dropped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    dropped_hash: Mapped[str] = mapped_column(server_default=FIRST)
