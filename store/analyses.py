"""What the judge said, look by look, what it rests on, and what it remembers."""

import zlib

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, undefer

from domain.analysis import Verdict
from domain.increments import NodeIntervals
from domain.judging import JudgedLook, LookMemory, Replay
from domain.measuring import Conclusion
from domain.messages import Look
from store.records import KeptLook, Page, StoredAnalysis, StoredLook
from store.tables import AnalysisRow


async def save(
    session: AsyncSession,
    look: Look,
    verdict: Verdict,
    judged: JudgedLook | None = None,
    memory: LookMemory | None = None,
) -> None:
    """Keep the verdict of one look, what it rests on and what it leaves; a repeated look replaces it."""
    request = look.analysis
    said = {
        "verdict": verdict.model_dump(mode="json"),
        "judged": _packed(judged),
        "memory": _packed(memory),
    }
    statement = insert(AnalysisRow).values(
        tenant=request.tenant,
        deployment=request.deployment,
        analysis=request.analysis,
        wave=request.wave,
        look=look.number,
        **said,
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "analysis", "look"], set_={**said, "at": statement.excluded.at}
        )
    )


async def memory(session: AsyncSession, look: Look) -> LookMemory | None:
    """What the look before this one left; None before the first."""
    return await _left_by(session, look, look.number - 1)


async def recorded(session: AsyncSession, look: Look) -> dict[str, NodeIntervals] | None:
    """What the first look recorded of the time before; None in the first look."""
    first = await _left_by(session, look, 1) if look.number > 1 else None
    return first.recorded if first is not None else None


async def _left_by(session: AsyncSession, look: Look, number: int) -> LookMemory | None:
    request = look.analysis
    kept = await session.scalar(
        select(AnalysisRow.memory).where(
            AnalysisRow.tenant == request.tenant,
            AnalysisRow.analysis == request.analysis,
            AnalysisRow.look == number,
        )
    )
    return LookMemory.model_validate_json(zlib.decompress(kept)) if kept is not None else None


async def replay(
    session: AsyncSession, tenant: str, analysis: str, number: int | None = None
) -> Replay | None:
    """A past look of an analysis (the last judged one unless a number is given) and the state before it.

    None where there is no such look, or one from before inputs were kept.
    """
    columns = (AnalysisRow.look, AnalysisRow.judged, AnalysisRow.verdict)
    mine = (AnalysisRow.tenant == tenant, AnalysisRow.analysis == analysis)
    wanted = select(*columns).where(*mine).order_by(AnalysisRow.look.desc()).limit(1)
    wanted = wanted.where(AnalysisRow.judged.is_not(None) if number is None else AnalysisRow.look == number)
    row = (await session.execute(wanted)).one_or_none()
    if row is None or row.judged is None:
        return None
    kept = await session.scalar(select(AnalysisRow.memory).where(*mine, AnalysisRow.look == row.look - 1))
    before = LookMemory.model_validate_json(zlib.decompress(kept)).state if kept is not None else None
    judged = JudgedLook.model_validate_json(zlib.decompress(row.judged))
    return Replay(judged=judged, before=before, verdict=Verdict.model_validate(row.verdict))


def _packed(model: BaseModel | None) -> bytes | None:
    return zlib.compress(model.model_dump_json().encode()) if model is not None else None


async def of_analysis(session: AsyncSession, tenant: str, analysis: str) -> list[KeptLook]:
    """All looks of one analysis in order, each with what it was judged on where that was kept."""
    rows = await session.scalars(
        select(AnalysisRow)
        .where(AnalysisRow.tenant == tenant, AnalysisRow.analysis == analysis)
        .order_by(AnalysisRow.look)
        .options(undefer(AnalysisRow.judged))
    )
    return [
        KeptLook(
            deployment=row.deployment,
            wave=row.wave,
            number=row.look,
            at=row.at,
            verdict=Verdict.model_validate(row.verdict),
            judged=JudgedLook.model_validate_json(zlib.decompress(row.judged)) if row.judged else None,
        )
        for row in rows
    ]


async def page(
    session: AsyncSession, tenant: str, *, deployment: str | None, before: int | None, limit: int
) -> Page[StoredAnalysis]:
    """Analyses by their last looks, the latest first; only of one deployment, where one is named."""
    later = aliased(AnalysisRow)
    followed = select(later.id).where(
        later.tenant == AnalysisRow.tenant,
        later.analysis == AnalysisRow.analysis,
        later.look > AnalysisRow.look,
    )
    statement = select(AnalysisRow).where(AnalysisRow.tenant == tenant, ~followed.exists())
    if deployment is not None:
        statement = statement.where(AnalysisRow.deployment == deployment)
    if before is not None:
        statement = statement.where(AnalysisRow.id < before)
    rows = list(await session.scalars(statement.order_by(AnalysisRow.id.desc()).limit(limit + 1)))
    items = tuple(StoredAnalysis.model_validate(row, from_attributes=True) for row in rows[:limit])
    return Page(items=items, more=len(rows) > limit)


async def conclude(session: AsyncSession, conclusion: Conclusion) -> None:
    """Keep an analysis's last word after its last look; it rests on no samples that could be judged again."""
    request, verdict = conclusion.analysis, conclusion.verdict
    number = 1 if request.background else verdict.looks + 1
    await save(session, Look(analysis=request, number=number, seconds=0.0), verdict)


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
