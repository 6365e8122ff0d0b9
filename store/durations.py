"""How long the steps of earlier deployments took, from the events that they left."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from domain.events import EventKind
from domain.forecast import beyond_waiting, by_kind
from domain.plan import Plan
from store.tables import DeploymentRow, EventRow

LATEST: Final = 10  # deployments that are looked at
# Phases that are no step's own work: people decide, or the first step has not begun.
_APART: Final = (Phase.PLANNING, Phase.WAITING_APPROVAL, Phase.PAUSED, Phase.HOLDING)

Entered = tuple[datetime, dict[str, Any]]  # when a phase began, and the event's payload


async def of_steps(
    session: AsyncSession, tenant: str, environment: str, module: str
) -> dict[str, list[float]]:
    """Kind of step → the seconds that each took beyond its certain wait, in the latest completed deployments.

    Of the module where it was deployed here before, of any module otherwise. What people took to decide is
    not in it.
    """
    completed = (
        select(DeploymentRow.id, DeploymentRow.plan)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase == Phase.COMPLETED,
            DeploymentRow.plan.is_not(None),
        )
        .order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc())
        .limit(LATEST)
    )
    plans = await _plans(session, completed.where(DeploymentRow.module == module))
    plans = plans or await _plans(session, completed)
    entered = await _entered(session, tenant, list(plans))
    times = (time for name, plan in plans.items() for time in _times(plan, entered[name]))
    return by_kind(times)


async def _plans(session: AsyncSession, statement: Select[Any, Any]) -> dict[str, Plan]:
    return {name: Plan.model_validate(plan) for name, plan in await session.execute(statement)}


async def _entered(
    session: AsyncSession, tenant: str, deployments: Sequence[str]
) -> defaultdict[str, list[Entered]]:
    rows = await session.execute(
        select(EventRow.deployment, EventRow.at, EventRow.payload)
        .where(
            EventRow.tenant == tenant,
            EventRow.deployment.in_(deployments),
            EventRow.kind.in_((EventKind.PHASE, EventKind.FINISHED)),
        )
        .order_by(EventRow.id)
    )
    found: defaultdict[str, list[Entered]] = defaultdict(list)
    for deployment, at, payload in rows:
        found[str(deployment)].append((at, payload))
    return found


def _times(plan: Plan, entered: Sequence[Entered]) -> Iterator[tuple[str, float]]:
    """Each step's kind and seconds; a step that shows several phases counts once."""
    seconds: defaultdict[int, float] = defaultdict(float)
    for (began, payload), (ended, _) in pairwise(entered):
        step = payload.get("step")
        if isinstance(step, int) and payload.get("phase") not in _APART:
            seconds[step] += (ended - began).total_seconds()
    for index, total in seconds.items():
        if index < len(plan.steps):
            yield plan.steps[index].kind, beyond_waiting(plan.steps[index], total)
