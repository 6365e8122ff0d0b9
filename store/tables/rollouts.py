"""Deployments and what belongs to one: nodes, amendments, gates, analyses, events, idempotency keys."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from domain.amendment import AmendmentState
from domain.arrival import SupersedeMode
from domain.deployment import Phase
from domain.gate import GateResult
from domain.outcomes import OutcomeKind
from store.tables.base import NOW, Json, Table, one_of


class DeploymentRow(Table):
    """One attempt to bring a release to an environment, or (`rolls_back`) to take an earlier one back.

    `hotfix` and `override` are the reasons for going before others, and in a lane that an unverified
    rollback has frozen; `supersedes` makes room for it.
    `only_nodes` limits it to these nodes; `retries` names the deployment whose lost nodes it tries again;
    `catch_up` brings nodes that were away to what is current: when the lane is idle, or `beside` the rollout
    that keeps it busy and does not concern these nodes.
    """

    __tablename__ = "deployments"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "environment"], ["environments.tenant", "environments.name"]),
        ForeignKeyConstraint(
            ["tenant", "module", "version"], ["releases.tenant", "releases.module", "releases.version"]
        ),
        ForeignKeyConstraint(["tenant", "rolls_back"], ["deployments.tenant", "deployments.id"]),
        ForeignKeyConstraint(["tenant", "supersedes"], ["deployments.tenant", "deployments.id"]),
        one_of("supersede_mode", SupersedeMode),
        CheckConstraint("(supersedes IS NULL) = (supersede_mode IS NULL)", name="superseded_somehow"),
        ForeignKeyConstraint(["tenant", "retries"], ["deployments.tenant", "deployments.id"]),
        ForeignKeyConstraint(["tenant", "beside"], ["deployments.tenant", "deployments.id"]),
        CheckConstraint("beside IS NULL OR catch_up", name="beside_catches_up"),
        one_of("phase", Phase),
        CheckConstraint("(plan IS NULL) = (plan_digest IS NULL)", name="plan_has_a_digest"),
        UniqueConstraint("tenant", "environment", "sequence"),
        Index(None, "tenant", "created_at", "id"),
        Index(None, "tenant", "environment", "phase"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    module: Mapped[str]
    version: Mapped[str]
    rolls_back: Mapped[str | None]
    retries: Mapped[str | None]
    only_nodes: Mapped[list[str] | None]
    catch_up: Mapped[bool] = mapped_column(server_default="false")
    beside: Mapped[str | None]
    strategy: Mapped[Json | None]
    hotfix: Mapped[str | None]
    override: Mapped[str | None]
    supersedes: Mapped[str | None]
    supersede_mode: Mapped[str | None]
    description: Mapped[str] = mapped_column(server_default="")
    requester: Mapped[str]
    replaces: Mapped[str | None]
    phase: Mapped[str]
    phase_since: Mapped[datetime] = mapped_column(server_default=NOW)
    step: Mapped[int | None]
    wave: Mapped[int | None]
    waiting_for: Mapped[str] = mapped_column(server_default="")
    message: Mapped[str] = mapped_column(server_default="")
    cause: Mapped[Json | None]
    unverified: Mapped[list[str]] = mapped_column(server_default="{}")
    plan: Mapped[Json | None]
    plan_digest: Mapped[str | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class DeploymentNodeRow(Table):
    """One node of a deployment.

    `prior` is what the node ran before (null: nothing); `touched_at` is set before the node is changed.
    """

    __tablename__ = "deployment_nodes"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        CheckConstraint("wave >= 1", name="wave_counts"),
        one_of("outcome", OutcomeKind),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    wave: Mapped[int]
    prior: Mapped[Json | None]
    touched_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    fault: Mapped[Json | None]
    verified_at: Mapped[datetime | None]
    observed: Mapped[Json | None]


class AmendmentRow(Table):
    """One amendment of a deployment, with the plan that it is of (`before`) and the one that it makes."""

    __tablename__ = "amendments"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        one_of("state", AmendmentState),
        CheckConstraint("number >= 1", name="counts"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    changes: Mapped[Json]
    actor: Mapped[str]
    reason: Mapped[str]
    before: Mapped[Json]
    plan: Mapped[Json]
    widens: Mapped[list[str]] = mapped_column(server_default="{}")
    gate: Mapped[str | None]
    state: Mapped[str]
    message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    settled_at: Mapped[datetime | None]


class PollRow(Table):
    """One gate of a deployment, or one request of another kind (`deployment` is null), with its votes.

    `id` is the approval workflow's id.
    """

    __tablename__ = "polls"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        one_of("result", GateResult),
        Index(None, "tenant", "opened_at", postgresql_where=text("closed_at IS NULL")),
        Index(None, "tenant", "deployment"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str | None]
    request: Mapped[Json]
    poll: Mapped[Json]
    expires_at: Mapped[datetime]
    result: Mapped[str | None]
    opened_at: Mapped[datetime] = mapped_column(server_default=NOW)
    closed_at: Mapped[datetime | None]


class AnalysisRow(Table):
    """One look of the judge: what it said, with its numbers.

    `memory` is what it left for the next look, `judged` what it was judged on (JSON, zlib): both large, and
    read only when asked for.
    """

    __tablename__ = "analyses"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        UniqueConstraint("tenant", "analysis", "look"),
        Index(None, "tenant", "deployment", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant: Mapped[str]
    deployment: Mapped[str]
    analysis: Mapped[str]
    wave: Mapped[int]
    look: Mapped[int]
    verdict: Mapped[Json]
    memory: Mapped[bytes | None] = mapped_column(deferred=True)
    judged: Mapped[bytes | None] = mapped_column(deferred=True)
    at: Mapped[datetime] = mapped_column(server_default=NOW)


class EventRow(Table):
    """What happened to a deployment, to a promotion, or to an approval that belongs to no deployment.

    Ids grow in the order in which the events of one of them were committed.
    """

    __tablename__ = "events"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.id"]),
        ForeignKeyConstraint(["tenant", "approval"], ["polls.tenant", "polls.id"]),
        ForeignKeyConstraint(["tenant", "promotion"], ["promotions.tenant", "promotions.id"]),
        UniqueConstraint("tenant", "deployment", "key"),
        UniqueConstraint("tenant", "approval", "key"),
        UniqueConstraint("tenant", "promotion", "key"),
        CheckConstraint("num_nonnulls(deployment, approval, promotion) = 1", name="one_home"),
        Index(None, "tenant", "deployment", "id"),
        Index(None, "tenant", "approval", "id"),
        Index(None, "tenant", "transaction", "id"),
        Index(None, "tenant", "promotion", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant: Mapped[str]
    deployment: Mapped[str | None]
    approval: Mapped[str | None]
    promotion: Mapped[str | None]
    key: Mapped[str]
    kind: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    payload: Mapped[Json]
    transaction: Mapped[int] = mapped_column(
        BigInteger, server_default=text("(pg_current_xact_id()::text::bigint)")
    )


class IdempotencyKeyRow(Table):
    """A key that a client chose for one request, and the deployment that the request made."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        Index(None, "created_at"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_digest: Mapped[str]
    deployment: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
