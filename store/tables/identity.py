"""The tables of signing in: sessions and API keys."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import NOW, Table


class SessionRow(Table):
    """One sign-in: what its refresh token must hash to, and whether it still counts.

    `previous_hash` is of the refresh token before; who shows that one has a copy.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "username"], ["users.tenant", "users.username"]),
        CheckConstraint("expires_at > created_at", name="lives"),
        Index(None, "tenant", "username"),
        Index(None, "expires_at"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    refresh_hash: Mapped[str]
    previous_hash: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class ApiKeyRow(Table):
    """A key that acts for its owner, within its scopes; of the secret only the hash is here."""

    __tablename__ = "api_keys"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "username"], ["users.tenant", "users.username"]),
        UniqueConstraint("tenant", "username", "name"),
        CheckConstraint("expires_at > created_at", name="lives"),
        CheckConstraint("cardinality(scopes) > 0", name="scoped"),
        CheckConstraint("secret_hash ~ '^[0-9a-f]{64}$'", name="hashed"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    name: Mapped[str]
    secret_hash: Mapped[str]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
