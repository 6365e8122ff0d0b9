"""How many there are of what, over all tenants: for monitoring."""

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.deployment import Phase
from store.tables import DeploymentRow, EnvironmentRow, NodeRow, PollRow


class Counts(Frozen):
    """Numbers of this moment, by environment's name where it matters.

    `silent` counts the nodes of `nodes` that were not heard of for longer than asked.
    """

    deployments: dict[tuple[str, Phase], int]
    nodes: dict[str, int]
    silent: dict[str, int]
    frozen: int
    gates: int


async def count(session: AsyncSession, *, silent_after: float) -> Counts:
    """Count everything; a node is silent when its last report is older than `silent_after` seconds."""
    by_phase = await session.execute(
        select(DeploymentRow.environment, DeploymentRow.phase, func.count()).group_by(
            DeploymentRow.environment, DeploymentRow.phase
        )
    )
    latest = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, silent_after)
    silent = func.count(NodeRow.name).filter(or_(NodeRow.last_seen.is_(None), NodeRow.last_seen < latest))
    by_environment = (
        await session.execute(
            select(EnvironmentRow.name, func.count(NodeRow.name), silent)
            .outerjoin(
                NodeRow,
                (NodeRow.tenant == EnvironmentRow.tenant) & (NodeRow.environment == EnvironmentRow.name),
            )
            .group_by(EnvironmentRow.name)
        )
    ).all()
    frozen = select(func.count()).select_from(EnvironmentRow).where(EnvironmentRow.frozen.is_not(None))
    gates = select(func.count()).select_from(PollRow).where(PollRow.closed_at.is_(None))
    return Counts(
        deployments={(environment, Phase(phase)): number for environment, phase, number in by_phase},
        nodes={name: number for name, number, _silent in by_environment},
        silent={name: quiet for name, _number, quiet in by_environment},
        frozen=(await session.execute(frozen)).scalar_one(),
        gates=(await session.execute(gates)).scalar_one(),
    )
