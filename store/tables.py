"""The tables. Every row belongs to a tenant; times are the database's own.

The migrations under store/migrations make the same tables; a test compares the two.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from domain.amendment import AmendmentState
from domain.arrival import SupersedeMode
from domain.deployment import Phase
from domain.gate import GateResult
from domain.outcomes import OutcomeKind
from domain.promotion import OnFailure, PromotionPhase
from domain.release import Kind
from domain.roles import Role
from domain.tenancy import TenantState, Tier

Json = dict[str, Any]
NOW = func.now()
FALSE = text("false")


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Table(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Json: JSONB(none_as_null=True),
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        str: Text,
        list[str]: ARRAY(Text),
    }


class TenantRow(Table):
    """An owner of everything else.

    `quota` is the tenant's own, with the tier custom only; `trust` its own signing roots (PEM), where it
    has some.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        _one_of("state", TenantState),
        _one_of("tier", Tier),
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
    __table_args__ = (_one_of("role", Role), CheckConstraint("failures >= 0", name="failures_count"))

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
        _one_of("kind", Kind),
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
        _one_of("supersede_mode", SupersedeMode),
        CheckConstraint("(supersedes IS NULL) = (supersede_mode IS NULL)", name="superseded_somehow"),
        ForeignKeyConstraint(["tenant", "retries"], ["deployments.tenant", "deployments.id"]),
        ForeignKeyConstraint(["tenant", "beside"], ["deployments.tenant", "deployments.id"]),
        CheckConstraint("beside IS NULL OR catch_up", name="beside_catches_up"),
        _one_of("phase", Phase),
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
        _one_of("outcome", OutcomeKind),
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
        _one_of("state", AmendmentState),
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
        _one_of("result", GateResult),
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


class PromotionRow(Table):
    """One release's way through environments; `position` is the stage that it has come to, from 1."""

    __tablename__ = "promotions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "module", "version"], ["releases.tenant", "releases.module", "releases.version"]
        ),
        _one_of("phase", PromotionPhase),
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
        _one_of("on_failure", OnFailure),
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
