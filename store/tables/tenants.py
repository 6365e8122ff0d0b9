"""What a tenant is made of: its people, its environments, and when nothing may start there."""

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

from domain.roles import Role
from domain.tenancy import TenantState, Tier
from store.tables.base import FALSE, NOW, Json, Table, one_of


class TenantRow(Table):
    """An owner of everything else.

    `quota` is the tenant's own, with the tier custom only; `trust` its own signing roots (PEM), where it
    has some.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        one_of("state", TenantState),
        one_of("tier", Tier),
        CheckConstraint("quota IS NULL OR tier = 'custom'", name="own_quota"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default=TenantState.ACTIVE)
    state_since: Mapped[datetime] = mapped_column(server_default=NOW)
    reason: Mapped[str] = mapped_column(server_default="")
    tier: Mapped[str] = mapped_column(server_default=Tier.CUSTOM)
    quota: Mapped[Json | None]
    trust: Mapped[str | None]
    first_admin: Mapped[str] = mapped_column(server_default="admin")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class UserRow(Table):
    """A person, with an Argon2 hash and one role within the tenant.

    `failures` counts wrong passwords in a row and guesses that are being checked right now.
    """

    __tablename__ = "users"
    __table_args__ = (one_of("role", Role), CheckConstraint("failures >= 0", name="failures_count"))

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    failures: Mapped[int] = mapped_column(server_default="0")
    locked_until: Mapped[datetime | None]
    must_change: Mapped[bool] = mapped_column(server_default=FALSE)
    disabled: Mapped[bool] = mapped_column(server_default=FALSE)


class GroupMemberRow(Table):
    """A person's membership in a group; a group is there as long as it has members."""

    __tablename__ = "group_members"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "username"], ["users.tenant", "users.username"]),
        Index(None, "tenant", "username"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)


class EnvironmentRow(Table):
    """A named set of nodes with its policy.

    `frozen` says why nothing may start, `frozen_by` which deployment left it so; `sequence` numbers the
    deployments that have a plan, and every fence is made from it.
    """

    __tablename__ = "environments"
    __table_args__ = (
        CheckConstraint("(frozen IS NULL) = (frozen_by IS NULL)", name="frozen_has_a_cause"),
        CheckConstraint("sequence >= 0", name="sequence_counts"),
    )

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    policy: Mapped[Json]
    frozen: Mapped[str | None]
    frozen_by: Mapped[str | None]
    sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")


class FreezeRow(Table):
    """A stretch of time in which nothing starts on an environment's nodes.

    With a `calendar` window it comes (again and again) by itself; without one a person froze it at
    `created_at`, until `until` or until it is thawed. A removed one stays, to be accounted for.
    """

    __tablename__ = "freezes"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.name"]),
        CheckConstraint("calendar IS NULL OR until IS NULL", name="one_end"),
        CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
        Index(None, "tenant", "environment", postgresql_where=text("removed_at IS NULL")),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    reason: Mapped[str]
    calendar: Mapped[Json | None]
    until: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    removed_by: Mapped[str | None]
    removed_at: Mapped[datetime | None]
    removal_reason: Mapped[str | None]
