"""What the judge said, look by look."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.analysis import Verdict
from domain.messages import Look
from store.records import StoredLook
from store.tables import AnalysisRow


async def save(session: AsyncSession, look: Look, verdict: Verdict) -> None:
    """Keep the verdict of one look; a repeated look replaces it."""
    request = look.analysis
    judged = verdict.model_dump(mode="json")
    statement = insert(AnalysisRow).values(
        tenant=request.tenant,
        deployment=request.deployment,
        analysis=request.analysis,
        wave=request.wave,
        look=look.number,
        verdict=judged,
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "analysis", "look"],
            set_={"verdict": judged, "at": statement.excluded.at},
        )
    )


async def of_deployment(session: AsyncSession, tenant: str, deployment: str) -> list[StoredLook]:
    """All looks at a deployment, in order."""
    rows = await session.scalars(
        select(AnalysisRow)
        .where(AnalysisRow.tenant == tenant, AnalysisRow.deployment == deployment)
        .order_by(AnalysisRow.id)
    )
    return [StoredLook.model_validate(row, from_attributes=True) for row in rows]


async def latest(session: AsyncSession, tenant: str, deployment: str) -> StoredLook | None:
    """The judge's last word on a deployment; None before the first look."""
    row = await session.scalar(
        select(AnalysisRow)
        .where(AnalysisRow.tenant == tenant, AnalysisRow.deployment == deployment)
        .order_by(AnalysisRow.id.desc())
        .limit(1)
    )
    return StoredLook.model_validate(row, from_attributes=True) if row is not None else None
