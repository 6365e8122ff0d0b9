"""Deployments: their record, phase by phase, with an event for every change in the same transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_, update
from sqlalchemy import insert as insertion
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import TERMINAL_PHASES, UNTOUCHED_END, Cause, Phase, advance
from domain.events import EventKind
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from domain.messages import Progress
from domain.outcomes import OutcomeKind
from domain.strategy import UNDO, StoredStrategy, Undo
from store import due, events, quotas, traces
from store.records import (
    DeploymentNode,
    DeploymentSummary,
    NodeOutcome,
    Page,
    StoredDeployment,
    StoredRelease,
)
from store.rollouts import (
    AlreadyPlanned,
    prior,
    record_outcomes,
    request_of,
    rollback_targets,
    save_plan,
    stored_plan,
    touch,
)
from store.rows import (
    deployment_of,
    deployment_with_release,
    environment_row,
    locked_deployment,
    stored_deployment,
    summaries,
    summary_of,
)
from store.tables import DeploymentNodeRow, DeploymentRow, PollRow

__all__ = [
    "AlreadyPlanned",
    "NodeOutcome",
    "OutcomeKind",
    "arriving",
    "as_inserted",
    "get",
    "insert",
    "list_page",
    "newest_of_module",
    "nodes_of",
    "prior",
    "record",
    "record_outcomes",
    "request_of",
    "rollback_targets",
    "save_plan",
    "stored_plan",
    "touch",
    "waiting",
    "withdraw",
]


async def insert(
    session: AsyncSession,
    tenant: str,
    *,
    deployment: str,
    environment: str,
    module: str,
    version: str,
    requester: str,
    strategy: StoredStrategy | None = None,
    description: str = "",
    rolls_back: str | None = None,
    hotfix: str | None = None,
    override: str | None = None,
    only_nodes: tuple[str, ...] | None = None,
    retries: str | None = None,
    catch_up: bool = False,
    beside: str | None = None,
) -> DeploymentRow:
    """Queue a deployment: its row, which it answers with, and its first event.

    The environment's row is locked until the transaction ends, so that what the caller has read of the
    queue still holds, and `created_at` orders the queue as it was filled.

    Raises:
        NotFound: no such environment of this tenant.
        QuotaExceeded: the tenant has as many deployments waiting or under way as it may.
    """
    if not catch_up and rolls_back is None and not isinstance(strategy, Undo):  # these are never refused
        await quotas.admit_deployment(session, tenant)
    await environment_row(session, tenant, environment, lock=True)
    asked = {
        "tenant": tenant,
        "id": deployment,
        "environment": environment,
        "module": module,
        "version": version,
        "rolls_back": rolls_back,
        "only_nodes": list(only_nodes) if only_nodes is not None else None,
        "retries": retries,
        "catch_up": catch_up,
        "beside": beside,
        "hotfix": hotfix,
        "override": override,
        "strategy": strategy.model_dump(mode="json") if strategy else None,
        "description": description,
        "requester": requester,
        "phase": Phase.QUEUED,
        "waiting_for": "its turn",
        "traceparent": traces.current(),
        "created_at": func.clock_timestamp(),
    }
    return await _inserted(session, asked)


async def _inserted(session: AsyncSession, asked: Mapping[str, Any]) -> DeploymentRow:
    """The row and its event, in one statement: the environment is locked meanwhile."""
    message = _in_words(asked)
    declared = (("actor", asked["requester"]), ("hotfix", asked["hotfix"]), ("override", asked["override"]))
    payload = {name: value for name, value in declared if value is not None}
    queued = events.beginning(
        session,
        asked["tenant"],
        asked["id"],
        key="queued",
        kind=EventKind.QUEUED,
        payload={"message": message, "phase": Phase.QUEUED, **payload},
    )
    inserted = insertion(DeploymentRow).values(**asked, message=message).add_cte(queued)
    return (await session.scalars(inserted.returning(DeploymentRow))).one()


def _in_words(asked: Mapping[str, Any]) -> str:
    """What was asked for, and by whom."""
    release = f"{asked['module']}@{asked['version']}"
    where, requester = asked["environment"], asked["requester"]
    if asked["rolls_back"] is not None:
        return f"rollback of {asked['rolls_back']} ({release}), requested by {requester}"
    if asked["strategy"] is not None and asked["strategy"]["kind"] == UNDO:
        return f"back to {release} in {where}, requested by {requester}: {asked['description']}"
    hotfix = "hotfix " if asked["hotfix"] is not None else ""
    return f"{hotfix}{release} to {where}, requested by {requester}"


def as_inserted(row: DeploymentRow, release: StoredRelease) -> StoredDeployment:
    """A deployment that this transaction has queued, as it stands in it."""
    return stored_deployment(row, release.ref, release.signer)


async def get(session: AsyncSession, tenant: str, deployment: str) -> StoredDeployment:
    """One deployment.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    return deployment_of(*await deployment_with_release(session, tenant, deployment))


async def list_page(
    session: AsyncSession,
    tenant: str,
    *,
    environment: str | None = None,
    phase: Phase | None = None,
    module: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 20,
) -> Page[DeploymentSummary]:
    """Deployments, newest first; `before` is (created_at, id) of the last one seen."""
    statement = summaries().where(DeploymentRow.tenant == tenant)
    for column, wanted in (
        (DeploymentRow.environment, environment),
        (DeploymentRow.phase, phase),
        (DeploymentRow.module, module),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if before is not None:
        statement = statement.where(tuple_(DeploymentRow.created_at, DeploymentRow.id) < tuple_(*before))
    ordered = statement.order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc()).limit(limit + 1)
    found = [summary_of(*row) for row in await session.execute(ordered)]
    return Page(items=tuple(found[:limit]), more=len(found) > limit)


async def newest_of_module(session: AsyncSession, tenant: str, environment: str, module: str) -> str | None:
    """The id of the latest deployment of a module in an environment, whatever became of it.

    The environment's row is locked until the transaction ends: none can come after it meanwhile.

    Raises:
        NotFound: no such environment of this tenant.
    """
    await environment_row(session, tenant, environment, lock=True)
    statement = (
        select(DeploymentRow.id)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.module == module,
            DeploymentRow.catch_up.is_(False),
        )
        .order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc())
        .limit(1)
    )
    return await session.scalar(statement)


async def arriving(session: AsyncSession, tenant: str, environment: str) -> list[tuple[str, str]]:
    """Modules with versions that open deployments bring, or that just completed ones have brought.

    "Just" covers the heartbeats by which the nodes' reports tell of it.
    """
    heard = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, HEARTBEAT_SECONDS * MISSED_HEARTBEATS)
    done = (DeploymentRow.phase == Phase.COMPLETED) & (DeploymentRow.finished_at > heard)
    rows = await session.execute(
        select(DeploymentRow.module, DeploymentRow.version)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.rolls_back.is_(None),
            DeploymentRow.phase.not_in(TERMINAL_PHASES) | done,
        )
        .distinct()
    )
    return [(module, version) for module, version in rows]


async def nodes_of(session: AsyncSession, tenant: str, deployment: str) -> list[DeploymentNode]:
    """The nodes of a deployment, by wave and name; empty before there is a plan."""
    rows = await session.scalars(
        select(DeploymentNodeRow)
        .where(DeploymentNodeRow.tenant == tenant, DeploymentNodeRow.deployment == deployment)
        .order_by(DeploymentNodeRow.wave, DeploymentNodeRow.node)
    )
    return [DeploymentNode.model_validate(row, from_attributes=True) for row in rows]


async def record(session: AsyncSession, progress: Progress) -> None:
    """Write a change and its event, once per key: a repeat writes nothing.

    Raises:
        NotFound: no such deployment of this tenant.
        IllegalTransition: the phase may not follow; with the transaction nothing is written.
    """
    row = await locked_deployment(session, progress.tenant, progress.deployment)
    payload = progress.model_dump(mode="json", exclude={"tenant", "deployment", "key", "event"})
    fresh = await events.append(
        session, progress.tenant, progress.deployment, key=progress.key, kind=progress.event, payload=payload
    )
    if fresh and progress.phase is not None:
        await _enter(session, row, progress, progress.phase)


async def _enter(session: AsyncSession, row: DeploymentRow, progress: Progress, phase: Phase) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    if advance(Phase(row.phase), phase) != row.phase or progress.step not in (None, row.step):
        row.phase_since = now
    row.phase = phase
    row.message = progress.message
    row.waiting_for = progress.waiting_for
    row.wave = progress.wave
    row.unverified = list(progress.unverified)
    if progress.step is not None:
        row.step = progress.step
    if progress.cause is not None:
        row.cause = progress.cause.model_dump(mode="json")
    if row.started_at is None and phase is not Phase.QUEUED:
        row.started_at = now
    if row.finished_at is None and phase.terminal:
        row.finished_at = now
        await due.settle(session, row)
    if phase.terminal or phase is Phase.ROLLING_BACK:
        await session.execute(
            update(PollRow)
            .where(PollRow.tenant == row.tenant, PollRow.deployment == row.id, PollRow.closed_at.is_(None))
            .values(closed_at=func.now())
        )


async def waiting(session: AsyncSession, tenant: str) -> list[str]:
    """The deployments of a tenant that wait for their turn, in whichever lane."""
    found = await session.scalars(
        select(DeploymentRow.id)
        .where(DeploymentRow.tenant == tenant, DeploymentRow.phase == Phase.QUEUED)
        .order_by(DeploymentRow.created_at, DeploymentRow.id)
    )
    return list(found)


async def withdraw(session: AsyncSession, tenant: str, deployment: str, cause: Cause) -> bool:
    """End a deployment that still waits for its turn; False when its lane has begun with it.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    if row.phase != Phase.QUEUED:
        return False
    await record(
        session,
        Progress(
            tenant=tenant,
            deployment=deployment,
            key="withdrawn",
            event=EventKind.FINISHED,
            message=cause.message,
            phase=UNTOUCHED_END[cause.kind],
            actor=cause.actor,
            cause=cause,
        ),
    )
    return True
