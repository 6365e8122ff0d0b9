"""The deployments that a promotion queues in the lanes of its environments, and where they stand."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from domain.deployment import Phase
from domain.errors import NotFound
from domain.events import EventKind
from domain.promotion_messages import PromotionInput, QueuedRollback, StageOrder, StageRollback, Standing
from store import deployments, environments, events, requirements
from store.promotions import locked_promotion
from store.rows import taken_back
from store.tables import DeploymentRow, PromotionRow, PromotionStageRow

# Ends of a deployment that leave every node on what it ran before.
_WITHOUT_EFFECT = (Phase.REJECTED, Phase.ABORTED, Phase.FAILED, Phase.ROLLED_BACK_VERIFIED)


async def queue_stage(session: AsyncSession, order: StageOrder) -> str:
    """Queue the deployment of a stage in its environment's lane; its id. A repeat finds the first one.

    Raises:
        RequirementUnmet: the environment's policy wants another one first, and it is not so (any more).
        NotFound: no such promotion, or no such stage.
    """
    asked = order.promotion
    row = await locked_promotion(session, asked.tenant, asked.promotion)
    stage = await _stage(session, asked, order.position)
    deployment = f"{row.id}-{order.position}" + (f"-{order.attempt}" if order.attempt > 1 else "")
    if stage.deployment == deployment:
        return deployment
    policy = await environments.policy(session, asked.tenant, stage.environment)
    await requirements.check(
        session, asked.tenant, stage.environment, policy, module=row.module, version=row.version
    )
    await deployments.insert(
        session,
        asked.tenant,
        deployment=deployment,
        environment=stage.environment,
        module=row.module,
        version=row.version,
        requester=row.requester,
        description=row.description or f"promotion {row.id}",
    )
    stage.deployment, row.position = deployment, order.position
    await _note_deployment(session, row, stage.environment, deployment, "deployment")
    return deployment


async def queue_rollback(session: AsyncSession, order: StageRollback) -> QueuedRollback:
    """Queue the deployment that takes a stage's one back, unless the environment has moved on since.

    Raises:
        NotFound: no such promotion, or no such stage.
    """
    asked = order.promotion
    row = await locked_promotion(session, asked.tenant, asked.promotion)
    stage = await _stage(session, asked, order.position)
    if stage.rollback is not None:
        return QueuedRollback(deployment=stage.rollback)
    later = await _later(session, row, stage)
    if later is not None:
        stage.note = f"left alone: deployment {later} of {row.module} came later"
        return QueuedRollback(reason=stage.note)
    record = f"{row.id}-{order.position}-back"
    await deployments.insert(
        session,
        asked.tenant,
        deployment=record,
        environment=stage.environment,
        module=row.module,
        version=row.version,
        requester=order.requester,
        description=order.reason,
        rolls_back=stage.deployment,
    )
    stage.rollback = record
    await _note_deployment(session, row, stage.environment, record, "rollback")
    return QueuedRollback(deployment=record)


async def standing(session: AsyncSession, tenant: str, deployment: str) -> Standing:
    """Where a deployment stands.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    statement = select(
        DeploymentRow.environment,
        DeploymentRow.phase,
        DeploymentRow.message,
        DeploymentRow.waiting_for,
        DeploymentRow.cause,
    ).where(DeploymentRow.tenant == tenant, DeploymentRow.id == deployment)
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"no deployment {deployment!r}")
    return Standing.model_validate({"deployment": deployment, **found._mapping})


async def _stage(session: AsyncSession, request: PromotionInput, position: int) -> PromotionStageRow:
    row = await session.get(PromotionStageRow, (request.tenant, request.promotion, position))
    if row is None:
        raise NotFound(f"promotion {request.promotion!r} has no stage {position}")
    return row


async def _later(session: AsyncSession, row: PromotionRow, stage: PromotionStageRow) -> str | None:
    """A deployment of the module that came to the environment later and had, or may have, effect."""
    own = aliased(DeploymentRow)
    since = select(own.created_at).where(own.tenant == row.tenant, own.id == stage.deployment)
    return await session.scalar(
        select(DeploymentRow.id)
        .where(
            DeploymentRow.tenant == row.tenant,
            DeploymentRow.environment == stage.environment,
            DeploymentRow.module == row.module,
            DeploymentRow.created_at > since.scalar_subquery(),
            DeploymentRow.phase.not_in(_WITHOUT_EFFECT),
            ~taken_back(DeploymentRow),
        )
        .order_by(DeploymentRow.created_at.desc())
        .limit(1)
    )


async def _note_deployment(
    session: AsyncSession, row: PromotionRow, environment: str, deployment: str, what: str
) -> None:
    await events.append_to_promotion(
        session,
        row.tenant,
        row.id,
        key=f"queued-{deployment}",
        kind=EventKind.PROMOTION_DEPLOYMENT,
        payload={
            "message": f"{environment}: {what} {deployment} waits for its turn",
            "environment": environment,
            "deployment": deployment,
        },
    )
