"""Analyses: what the judge said look by look, what it rests on, and the report that people look at."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import Field

from api.access import Caller, Viewer
from api.paging import PageOf, PageQuery, cursor_of, number_after
from api.services import Hands, Services
from api.views.analysis import AnalysisItem, AnalysisView, view
from domain.errors import NotFound
from domain.judging import Replay
from domain.names import background_id, guard_id
from reports.model import Judged, Report, build
from store import analyses, deployments
from store.records import KeptLook

router = APIRouter(prefix="/analyses", tags=["analyses"])


class AnalysisQuery(PageQuery):
    """Only of one deployment."""

    deployment: Annotated[str, Field(max_length=255)] | None = None


@router.get("")
async def list_analyses(
    query: Annotated[AnalysisQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[AnalysisItem]:
    """Analyses of waves, in the background and after completion, each by its last look; the latest first."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await analyses.page(
            session,
            caller.tenant,
            deployment=query.deployment,
            before=number_after(query.cursor),
            limit=query.limit,
        )
    following = cursor_of(str(page.items[-1].id)) if page.more else None
    return PageOf(items=[AnalysisItem.of(each) for each in page.items], next_cursor=following)


@router.get("/{analysis}")
async def get_analysis(analysis: str, caller: Viewer, hands: Hands) -> AnalysisView:
    """Every look's verdict, in order; the last one is the analysis's word."""
    return view(analysis, await _looks(hands, caller, analysis))


@router.get("/{analysis}/inputs")
async def get_inputs(
    analysis: str, caller: Viewer, hands: Hands, look: Annotated[int | None, Query(ge=1)] = None
) -> Replay:
    """What one look was judged on, the judge's state before it, and what was said: to judge it again."""
    async with hands.database.transaction(caller.tenant) as session:
        found = await analyses.replay(session, caller.tenant, analysis, look)
    if found is None:
        raise NotFound(f"no look of analysis {analysis} that could be judged again")
    return found


@router.get("/{analysis}/report", response_class=HTMLResponse)
async def get_report(analysis: str, caller: Viewer, hands: Hands) -> HTMLResponse:
    """One self-contained page: no script, nothing fetched."""
    report = await _report(hands, caller, analysis)
    # The drawing library is loaded with the first report, not with the server.
    from reports.page import content_security_policy, render  # noqa: PLC0415

    page = await asyncio.to_thread(render, report)
    return HTMLResponse(page, headers={"Content-Security-Policy": content_security_policy()})


@router.get("/{analysis}/summary")
async def get_summary(analysis: str, caller: Viewer, hands: Hands) -> Report:
    """What the report shows, as data."""
    return await _report(hands, caller, analysis)


async def _report(hands: Services, caller: Caller, analysis: str) -> Report:
    looks = await _looks(hands, caller, analysis)
    async with hands.database.transaction(caller.tenant) as session:
        deployment = await deployments.get(session, caller.tenant, looks[0].deployment)
    place = f"wave {looks[0].wave}"
    if analysis in (background_id(deployment.id), guard_id(deployment.id)):
        place = "in the background" if analysis == background_id(deployment.id) else "after completion"
    title = f"{deployment.release}, {place}, in {deployment.environment}"
    judged = [
        Judged(number=look.number, at=look.at, verdict=look.verdict, judged=look.judged) for look in looks
    ]
    return await asyncio.to_thread(build, analysis, title, judged)


async def _looks(hands: Services, caller: Caller, analysis: str) -> list[KeptLook]:
    async with hands.database.transaction(caller.tenant) as session:
        looks = await analyses.of_analysis(session, caller.tenant, analysis)
    if not looks:
        raise NotFound(f"no analysis {analysis}")
    return looks
