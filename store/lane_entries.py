"""The entries of a lane, in the order of their turn: what is under way, hotfixes, then as they came."""

from typing import Any, Final

from sqlalchemy import Row, ScalarSelect, Select, Subquery, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.arrival import SupersedeMode, Waiting
from domain.deployment import TERMINAL_PHASES, Phase
from domain.messages import QueuedDeployment
from domain.strategy import UNDO
from store import inheritance
from store.rows import taken_back
from store.tables import DeploymentRow

SHOWN: Final = 25  # entries that are read whatever they are; one shows twenty of them, and starts the first
LONGEST_VIEW: Final = 200

_KIND: Final = DeploymentRow.strategy["kind"].astext
_OPEN: Final = (
    DeploymentRow.tenant == bindparam("tenant"),
    DeploymentRow.environment == bindparam("environment"),
    DeploymentRow.phase.not_in(TERMINAL_PHASES),
)
_TURN: Final = (
    DeploymentRow.phase == Phase.QUEUED,
    DeploymentRow.beside.is_not(None),
    DeploymentRow.hotfix.is_(None),
    DeploymentRow.created_at,
    DeploymentRow.id,
)
# What may start before its turn, or makes others do something.
_OUT_OF_TURN: Final = or_(
    DeploymentRow.hotfix.is_not(None),
    DeploymentRow.override.is_not(None),
    DeploymentRow.rolls_back.is_not(None),
    DeploymentRow.supersedes.is_not(None),
    DeploymentRow.beside.is_not(None),
    _KIND == UNDO,
)


_COLUMNS: Final = (
    DeploymentRow.tenant,
    DeploymentRow.environment,
    DeploymentRow.id,
    DeploymentRow.requester,
    DeploymentRow.module,
    DeploymentRow.version,
    DeploymentRow.rolls_back,
    DeploymentRow.phase,
    DeploymentRow.traceparent,
    DeploymentRow.hotfix,
    DeploymentRow.override,
    DeploymentRow.supersedes,
    DeploymentRow.supersede_mode,
    DeploymentRow.beside,
    _KIND.label("asked"),
    _OUT_OF_TURN.label("out_of_turn"),
    func.row_number().over(order_by=_TURN).label("turn"),
    func.count().filter(DeploymentRow.phase == Phase.QUEUED).over().label("waiting"),
)


def _running_version(entries: Subquery) -> ScalarSelect[str]:
    """The version of the module that the environment's last completed, not undone deployment brought."""
    return (
        select(DeploymentRow.version)
        .where(
            DeploymentRow.tenant == entries.c.tenant,
            DeploymentRow.environment == entries.c.environment,
            DeploymentRow.module == entries.c.module,
            DeploymentRow.phase == Phase.COMPLETED,
            DeploymentRow.catch_up.is_(False),
            ~taken_back(DeploymentRow),
        )
        .order_by(DeploymentRow.finished_at.desc())
        .limit(1)
        .correlate(entries)
        .scalar_subquery()
    )


def _entries() -> Select[*tuple[Any, ...]]:
    entries = select(*_COLUMNS).where(*_OPEN).subquery()
    return (
        select(entries, _running_version(entries).label("replaces"))
        .where((entries.c.turn <= SHOWN) | entries.c.out_of_turn)
        .order_by(entries.c.turn)
        .limit(LONGEST_VIEW)
    )


# Lanes are read often: the statement is made once.
_ENTRIES: Final = _entries()


async def read(
    session: AsyncSession, tenant: str, environment: str, *, strategy: str
) -> tuple[list[QueuedDeployment], list[QueuedDeployment], int]:
    """What is under way (what goes beside it last), what waits, and how many wait in all.

    `strategy` is the environment's, for those that ask for none. Of a long queue come the first, and all
    that is not ordinary.
    """
    rows = (await session.execute(_ENTRIES, {"tenant": tenant, "environment": environment})).all()
    entries = [_entry(row, strategy, continues=await _continues(session, tenant, row)) for row in rows]
    under_way = [entry for entry in entries if entry.phase is not Phase.QUEUED]
    queued = [entry for entry in entries if entry.phase is Phase.QUEUED]
    return under_way, queued, rows[0].waiting if rows else 0


async def _continues(session: AsyncSession, tenant: str, row: Row[Any]) -> str | None:
    """The superseded deployment whose changed nodes this one has taken over."""
    if row.supersedes is None or not await inheritance.inherited(session, tenant, row.id):
        return None
    return str(row.supersedes)


def _entry(row: Row[Any], strategy: str, *, continues: str | None) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=row.id,
        requester=row.requester,
        module=row.module,
        version=row.version,
        strategy=row.asked or strategy,
        rolls_back=row.rolls_back,
        replaces=row.replaces,
        phase=Phase(row.phase),
        traceparent=row.traceparent,
        hotfix=row.hotfix is not None,
        override=row.override,
        supersedes=row.supersedes,
        supersede_mode=SupersedeMode(row.supersede_mode) if row.supersede_mode else None,
        continues=continues,
        beside=row.beside,
    )


async def around(
    session: AsyncSession, deployment: DeploymentRow, *, first_only: bool
) -> tuple[Waiting | None, list[Waiting]]:
    """What runs in a deployment's lane, and what waits of its module; or only the very first that is there.

    The caller holds the environment's lock.
    """
    statement = (
        select(
            DeploymentRow.id.label("deployment"),
            DeploymentRow.module,
            DeploymentRow.phase,
            DeploymentRow.rolls_back,
            DeploymentRow.hotfix.is_not(None).label("hotfix"),
            DeploymentRow.supersedes,
            DeploymentRow.supersede_mode,
        )
        .where(*_OPEN, DeploymentRow.id != deployment.id)
        .order_by(*_TURN)
    )
    if first_only:
        statement = statement.limit(1)
    else:
        ours = DeploymentRow.module == deployment.module
        statement = statement.where((DeploymentRow.phase != Phase.QUEUED) | ours)
    lane = {"tenant": deployment.tenant, "environment": deployment.environment}
    rows = await session.execute(statement, lane)
    entries = [Waiting.model_validate(row, from_attributes=True) for row in rows]
    running = next((each for each in entries if each.phase is not Phase.QUEUED), None)
    return running, [each for each in entries if each.phase is Phase.QUEUED]
