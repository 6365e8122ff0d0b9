"""Promotions, and the environments that they go through."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from domain.promotion import OnFailure, PromotionPhase
from store.tables.base import NOW, Json, Table, one_of


class PromotionRow(Table):
    """One release's way through environments; `position` is the stage that it has come to, from 1."""

    __tablename__ = "promotions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "module", "version"], ["releases.tenant", "releases.module", "releases.version"]
        ),
        one_of("phase", PromotionPhase),
        Index(None, "tenant", "created_at", "id"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    module: Mapped[str]
    version: Mapped[str]
    requester: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    phase: Mapped[str]
    phase_since: Mapped[datetime] = mapped_column(server_default=NOW)
    position: Mapped[int] = mapped_column(server_default="1")
    waiting_for: Mapped[str] = mapped_column(server_default="")
    message: Mapped[str] = mapped_column(server_default="")
    cause: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]


class PromotionStageRow(Table):
    """One environment of a promotion: its terms, its deployment, and the one that takes that back."""

    __tablename__ = "promotion_stages"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "promotion"], ["promotions.tenant", "promotions.id"]),
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.name"]),
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        ForeignKeyConstraint(["tenant", "rollback"], ["deployments.tenant", "deployments.id"]),
        one_of("on_failure", OnFailure),
        CheckConstraint("position >= 1", name="position_counts"),
        Index(None, "tenant", "deployment"),
        Index(None, "tenant", "rollback"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    promotion: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str]
    soak: Mapped[float]
    on_failure: Mapped[str]
    deployment: Mapped[str | None]
    rollback: Mapped[str | None]
    note: Mapped[str] = mapped_column(server_default="")
