"""Amendments of deployments, each with the plan before it and its own. One that is applied is the plan."""

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.amendment import Amendment, AmendmentState
from domain.console import count
from domain.difference import difference
from domain.events import EventKind
from domain.plan import Plan
from store import events
from store.records import StoredAmendment
from store.rows import locked_deployment
from store.tables import AmendmentRow, DeploymentNodeRow, DeploymentRow, PollRow

SHOWN = 50  # steps and fields that an event tells; all of it is in the plans

_EVENTS = {
    AmendmentState.WAITING: EventKind.AMENDMENT_PROPOSED,
    AmendmentState.APPLIED: EventKind.AMENDED,
}


async def save(session: AsyncSession, tenant: str, deployment: str, amendment: Amendment) -> None:
    """Write an amendment as it stands, with its event; once per state.

    One that is applied becomes the deployment's plan, and its nodes get the waves that it says.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    before = Plan.model_validate(row.plan)
    fresh = await events.append(
        session,
        tenant,
        deployment,
        key=f"amendment-{amendment.number}-{amendment.state}",
        kind=_EVENTS.get(amendment.state, EventKind.AMENDMENT_DROPPED),
        payload=_told(before, amendment),
    )
    if not fresh:
        return
    facts = amendment.model_dump(mode="json")
    facts |= {"settled_at": None if amendment.state is AmendmentState.WAITING else func.now()}
    values = {**facts, "tenant": tenant, "deployment": deployment, "before": row.plan}
    later = {name: facts[name] for name in ("state", "message", "settled_at")}
    await session.execute(
        insert(AmendmentRow)
        .values(values)
        .on_conflict_do_update(index_elements=["tenant", "deployment", "number"], set_=later)
    )
    if amendment.state is AmendmentState.APPLIED:
        await _apply(session, row, before, amendment.plan)
    if amendment.state is AmendmentState.LAPSED:
        await session.execute(
            update(PollRow)
            .where(PollRow.tenant == tenant, PollRow.id == amendment.gate, PollRow.closed_at.is_(None))
            .values(closed_at=func.now())
        )


async def of_deployment(session: AsyncSession, tenant: str, deployment: str) -> list[StoredAmendment]:
    """The amendments of a deployment, in the order in which they were made."""
    rows = await session.scalars(
        select(AmendmentRow)
        .where(AmendmentRow.tenant == tenant, AmendmentRow.deployment == deployment)
        .order_by(AmendmentRow.number)
    )
    return [StoredAmendment.model_validate(row, from_attributes=True) for row in rows]


async def _apply(session: AsyncSession, row: DeploymentRow, before: Plan, plan: Plan) -> None:
    row.plan = plan.model_dump(mode="json")
    row.plan_digest = plan.digest
    old = {name: wave.number for wave in before.waves for name in wave.nodes}
    for wave in plan.waves:
        moved = [name for name in wave.nodes if old.get(name) != wave.number]
        if moved:
            await session.execute(
                update(DeploymentNodeRow)
                .where(
                    DeploymentNodeRow.tenant == row.tenant,
                    DeploymentNodeRow.deployment == row.id,
                    DeploymentNodeRow.node.in_(moved),
                )
                .values(wave=wave.number)
            )


def _told(before: Plan, amendment: Amendment) -> dict[str, object]:
    found = difference(before, amendment.plan)
    return {
        "message": f"amendment {amendment.number} {amendment.state}: {amendment.message}"[:2000],
        "actor": amendment.actor,
        "reason": amendment.reason,
        "number": amendment.number,
        "before": before.digest,
        "plan": amendment.plan.digest,
        "widens": list(amendment.widens),
        "changes": amendment.changes.model_dump(mode="json", exclude_defaults=True),
        "waves": [len(wave.nodes) for wave in amendment.plan.waves],
        "moved": count(len(found.nodes), "node"),
        "steps_gone": found.steps_gone[:SHOWN],
        "steps_new": found.steps_new[:SHOWN],
        "fields": [each.model_dump(mode="json") for each in found.fields[:SHOWN]],
    }
