"""Nodes, and the releases that they may get."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from domain.release import Kind
from store.tables.base import NOW, Json, Table, one_of


class NodeRow(Table):
    """A host of an environment; `token_id` names the one heartbeat token that counts.

    `quarantine` says why rollouts leave it alone; `due_since` is set while it may lack what is current.
    """

    __tablename__ = "nodes"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.name"]),
        Index(None, "tenant", "environment", "name"),
        Index(None, "tenant", "environment", postgresql_where=text("due_since IS NOT NULL")),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    address: Mapped[str]
    labels: Mapped[Json]
    token_id: Mapped[str | None]
    registered_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_seen: Mapped[datetime | None]
    report: Mapped[Json | None]
    quarantine: Mapped[Json | None]
    due_since: Mapped[datetime | None]


class ReleaseRow(Table):
    """An immutable version of a module; its bundle lies in the bundle directory under `digest`."""

    __tablename__ = "releases"
    __table_args__ = (
        one_of("kind", Kind),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$' AND tree ~ '^[0-9a-f]{64}$'", name="hashes"),
        CheckConstraint("size > 0", name="size_positive"),
    )

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    module: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    tree: Mapped[str]
    kind: Mapped[str]
    manifest: Mapped[Json]
    signature: Mapped[bytes]
    signer: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    pushed_by: Mapped[str]
    pushed_at: Mapped[datetime] = mapped_column(server_default=NOW)
