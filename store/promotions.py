"""Promotions: their record, stage by stage, with an event for every change."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from domain.deployment import TERMINAL_PHASES, Cause
from domain.errors import NotFound
from domain.events import EventKind
from domain.promotion import OnFailure, PromotionPhase, PromotionStage, advance_promotion
from domain.promotion_messages import (
    PromotionInput,
    PromotionProgress,
    PromotionTerms,
)
from store import environments, events
from store.records import Page
from store.stages import StoredPromotion, StoredStage, WaitingPromotion
from store.tables import DeploymentRow, PromotionRow, PromotionStageRow

_UNDER_WAY = tuple(phase for phase in PromotionPhase if not phase.terminal)


async def insert(
    session: AsyncSession, request: PromotionInput, stages: Sequence[PromotionStage], description: str
) -> None:
    """A new promotion: its row, its stages and its first event."""
    names = " → ".join(stage.environment for stage in stages)
    message = f"{request.module}@{request.version} through {names}, requested by {request.requester}"
    session.add(
        PromotionRow(
            tenant=request.tenant,
            id=request.promotion,
            module=request.module,
            version=request.version,
            requester=request.requester,
            description=description,
            phase=PromotionPhase.RUNNING,
            message=message,
            created_at=func.clock_timestamp(),
        )
    )
    await session.flush()
    session.add_all(
        PromotionStageRow(
            tenant=request.tenant,
            promotion=request.promotion,
            position=position,
            environment=stage.environment,
            soak=stage.soak,
            on_failure=stage.on_failure,
        )
        for position, stage in enumerate(stages, start=1)
    )
    await session.flush()
    await events.append_to_promotion(
        session,
        request.tenant,
        request.promotion,
        key="started",
        kind=EventKind.PROMOTION_STARTED,
        payload={"message": message, "phase": PromotionPhase.RUNNING, "actor": request.requester},
    )


async def get(session: AsyncSession, tenant: str, promotion: str) -> StoredPromotion:
    """One promotion with its stages.

    Raises:
        NotFound: no such promotion of this tenant.
    """
    row = await session.get(PromotionRow, (tenant, promotion))
    if row is None:
        raise NotFound(f"no promotion {promotion!r}")
    return _promotion(row, await _stages(session, tenant, [promotion]))


async def list_page(
    session: AsyncSession,
    tenant: str,
    *,
    module: str | None = None,
    phase: PromotionPhase | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 20,
) -> Page[StoredPromotion]:
    """Promotions, newest first; `before` is (created_at, id) of the last one seen."""
    statement = select(PromotionRow).where(PromotionRow.tenant == tenant)
    if module is not None:
        statement = statement.where(PromotionRow.module == module)
    if phase is not None:
        statement = statement.where(PromotionRow.phase == phase)
    if before is not None:
        statement = statement.where(tuple_(PromotionRow.created_at, PromotionRow.id) < tuple_(*before))
    ordered = statement.order_by(PromotionRow.created_at.desc(), PromotionRow.id.desc()).limit(limit + 1)
    rows = (await session.scalars(ordered)).all()
    stages = await _stages(session, tenant, [row.id for row in rows])
    return Page(items=tuple(_promotion(row, stages) for row in rows[:limit]), more=len(rows) > limit)


async def terms(session: AsyncSession, tenant: str, promotion: str) -> PromotionTerms:
    """The environments in order. A resume may be unsigned where every one of them allows it.

    Raises:
        NotFound: no such promotion of this tenant.
    """
    stored = await get(session, tenant, promotion)
    policies = [await environments.policy(session, tenant, stage.environment) for stage in stored.stages]
    return PromotionTerms(
        stages=tuple(
            PromotionStage(environment=stage.environment, soak=stage.soak, on_failure=stage.on_failure)
            for stage in stored.stages
        ),
        unsigned_allowed=all(policy.unsigned_votes for policy in policies),
    )


async def record(session: AsyncSession, progress: PromotionProgress) -> None:
    """Write a change and its event, once per key: a repeat writes nothing.

    Raises:
        NotFound: no such promotion of this tenant.
        IllegalTransition: the phase may not follow; with the transaction nothing is written.
    """
    row = await locked_promotion(session, progress.tenant, progress.promotion)
    payload = progress.model_dump(mode="json", exclude={"tenant", "promotion", "key", "event"})
    fresh = await events.append_to_promotion(
        session, progress.tenant, progress.promotion, key=progress.key, kind=progress.event, payload=payload
    )
    if not fresh or progress.phase is None:
        return
    now = (await session.execute(select(func.now()))).scalar_one()
    if advance_promotion(PromotionPhase(row.phase), progress.phase) != row.phase:
        row.phase_since = now
    row.phase, row.message, row.waiting_for = progress.phase, progress.message, progress.waiting_for
    if progress.position is not None:
        row.position = progress.position
    if progress.cause is not None:
        row.cause = progress.cause.model_dump(mode="json")
    if progress.phase.terminal:
        row.finished_at = now


async def waiting_on(session: AsyncSession, tenant: str, deployment: str) -> str | None:
    """The promotion that a deployment belongs to; None when it belongs to none."""
    stage = PromotionStageRow
    return await session.scalar(
        select(stage.promotion).where(
            stage.tenant == tenant, or_(stage.deployment == deployment, stage.rollback == deployment)
        )
    )


async def under_way(session: AsyncSession) -> list[WaitingPromotion]:
    """Every promotion, of all tenants, that has not ended. For `Database.system`.

    `due` when none of its deployments is under way and one has ended since its last change of phase: then
    it has something to do, and may have missed the signal that says so.
    """
    row, stage, brings = PromotionRow, PromotionStageRow, DeploymentRow
    own = (
        select(brings.id)
        .join(
            stage,
            (stage.tenant == brings.tenant) & or_(stage.deployment == brings.id, stage.rollback == brings.id),
        )
        .where(stage.tenant == row.tenant, stage.promotion == row.id)
    )
    open_ = own.where(brings.phase.not_in(TERMINAL_PHASES)).exists()
    ended = own.where(brings.phase.in_(TERMINAL_PHASES), brings.finished_at > row.phase_since).exists()
    found = await session.execute(
        select(row.tenant, row.id, (~open_ & ended).label("due"))
        .where(row.phase.in_(_UNDER_WAY))
        .order_by(row.created_at, row.id)
    )
    return [WaitingPromotion(tenant=each.tenant, promotion=each.id, due=each.due) for each in found]


async def request_of(session: AsyncSession, tenant: str, promotion: str) -> PromotionInput:
    """What its workflow is started with.

    Raises:
        NotFound: no such promotion of this tenant.
    """
    stored = await get(session, tenant, promotion)
    return PromotionInput(
        tenant=tenant,
        promotion=promotion,
        requester=stored.requester,
        module=stored.module,
        version=stored.version,
    )


async def locked_promotion(session: AsyncSession, tenant: str, promotion: str) -> PromotionRow:
    """A promotion's row, locked until the transaction ends.

    Raises:
        NotFound: no such promotion of this tenant.
    """
    row = await session.scalar(
        select(PromotionRow)
        .where(PromotionRow.tenant == tenant, PromotionRow.id == promotion)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound(f"no promotion {promotion!r}")
    return row


async def _stages(
    session: AsyncSession, tenant: str, promotions: Sequence[str]
) -> dict[str, tuple[StoredStage, ...]]:
    """The stages of promotions, in order, each with where its deployments stand."""
    stage, brings, takes = PromotionStageRow, aliased(DeploymentRow), aliased(DeploymentRow)
    rows = await session.execute(
        select(
            stage,
            brings.phase,
            brings.message,
            brings.waiting_for,
            brings.finished_at,
            takes.phase.label("rollback_phase"),
        )
        .outerjoin(brings, (brings.tenant == stage.tenant) & (brings.id == stage.deployment))
        .outerjoin(takes, (takes.tenant == stage.tenant) & (takes.id == stage.rollback))
        .where(stage.tenant == tenant, stage.promotion.in_(promotions))
        .order_by(stage.promotion, stage.position)
    )
    found: dict[str, tuple[StoredStage, ...]] = {}
    for row, *rest in rows:
        stored = _stored_stage(row, *rest)
        found[row.promotion] = (*found.get(row.promotion, ()), stored)
    return found


def _stored_stage(row: PromotionStageRow, *rest: Any) -> StoredStage:
    phase, message, waiting_for, finished_at, rollback_phase = rest
    return StoredStage(
        position=row.position,
        environment=row.environment,
        soak=row.soak,
        on_failure=OnFailure(row.on_failure),
        deployment=row.deployment,
        deployment_phase=phase,
        message=message or "",
        waiting_for=waiting_for or "",
        finished_at=finished_at,
        rollback=row.rollback,
        rollback_phase=rollback_phase,
        note=row.note,
    )


def _promotion(row: PromotionRow, stages: dict[str, tuple[StoredStage, ...]]) -> StoredPromotion:
    values = {name: getattr(row, name) for name in StoredPromotion.model_fields if name != "stages"}
    values["cause"] = Cause.model_validate(row.cause) if row.cause else None
    return StoredPromotion.model_validate({**values, "stages": stages.get(row.id, ())})
