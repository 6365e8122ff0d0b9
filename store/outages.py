"""Providers of condition checks that do not answer: events of their deployment, and which still do not."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.events import EventKind
from domain.measuring import MeasureOrder, Outage
from store import events
from store.rows import locked_deployment
from store.tables import EventRow

KINDS = (EventKind.PROVIDER_DOWN, EventKind.PROVIDER_BACK)


async def changed(session: AsyncSession, order: MeasureOrder, outage: str) -> None:
    """Write that a check's provider has gone away, and why, or with "" that it is back; once per measurement.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    analysis, name = order.analysis, order.check.metric.name
    await locked_deployment(session, analysis.tenant, analysis.deployment)
    kind = EventKind.PROVIDER_DOWN if outage else EventKind.PROVIDER_BACK
    words = f"{order.check.provider.kind} does not answer: {outage}" if outage else "it is measured again"
    about = Outage(check=name, wave=None if analysis.background else analysis.wave, message=words)
    await events.append(
        session,
        analysis.tenant,
        analysis.deployment,
        key=f"{analysis.analysis}-{name}-{order.number}-{kind}",
        kind=kind,
        payload={"message": f"check {name}: {words}", "outage": about.model_dump(mode="json")},
    )


async def present(session: AsyncSession, tenant: str, deployment: str, wave: int | None) -> list[Outage]:
    """What does not answer now: of this wave's checks, and of those in the background."""
    rows = await session.execute(
        select(EventRow.kind, EventRow.payload)
        .where(EventRow.tenant == tenant, EventRow.deployment == deployment, EventRow.kind.in_(KINDS))
        .order_by(EventRow.id)
    )
    found: dict[tuple[int | None, str], Outage] = {}
    for kind, payload in rows:
        outage = Outage.model_validate(payload["outage"])
        found.pop((outage.wave, outage.check), None)
        if kind == EventKind.PROVIDER_DOWN:
            found[outage.wave, outage.check] = outage
    return [outage for outage in found.values() if outage.wave in (None, wave)]
