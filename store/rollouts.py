"""What the hands write while a deployment is under way: its plan, its nodes, what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Text, bindparam, case, column, func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.console import count
from domain.deployment import Phase
from domain.errors import Conflict, HotswapError, NotFound
from domain.events import EventKind
from domain.messages import Prepared, RollbackTargets
from domain.outcomes import OutcomeKind
from domain.plan import Plan
from domain.policy import EnvironmentPolicy
from domain.release import ReleaseRef
from store import events, inheritance
from store.records import NodeOutcome, PlanningRequest
from store.rows import deployment_of, deployment_with_release, environment_row, locked_deployment, ref_of
from store.tables import DeploymentNodeRow, DeploymentRow, EnvironmentRow, NodeRow

# Room for the fences of one deployment: its own, and above it that of its rollback.
FENCES_PER_DEPLOYMENT = 1000


class AlreadyPlanned(HotswapError):
    """Another attempt has stored a plan first. Trying again finds that one."""

    code = "already-planned"


_PROVED = (OutcomeKind.VERIFIED, OutcomeKind.REVERT_VERIFIED)
_BACK = (OutcomeKind.REVERTED, OutcomeKind.REVERT_VERIFIED)


async def request_of(session: AsyncSession, tenant: str, deployment: str) -> PlanningRequest:
    """What was asked for.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row, brought = await deployment_with_release(session, tenant, deployment)
    stored = deployment_of(row, brought)
    return PlanningRequest(
        release=stored.release,
        strategy=stored.strategy,
        environment=stored.environment,
        requester=stored.requester,
        hotfix=stored.hotfix is not None,
        only_nodes=tuple(row.only_nodes) if row.only_nodes is not None else None,
        catch_up=row.catch_up,
    )


async def stored_plan(session: AsyncSession, tenant: str, deployment: str) -> Prepared | None:
    """The plan with its fence; None as long as there is none."""
    statement = select(DeploymentRow.plan, DeploymentRow.sequence).where(
        DeploymentRow.tenant == tenant, DeploymentRow.id == deployment
    )
    found = (await session.execute(statement)).first()
    if found is None or found.plan is None:
        return None
    return Prepared(plan=Plan.model_validate(found.plan), fence=found.sequence * FENCES_PER_DEPLOYMENT)


async def save_plan(
    session: AsyncSession,
    tenant: str,
    deployment: str,
    plan: Plan,
    prior: Mapping[str, ReleaseRef | None],
) -> int:
    """Store the plan and each node's prior release; the fence of the deployment's operations.

    Saving the same plan again changes nothing.

    Raises:
        AlreadyPlanned: a different plan is stored.
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    digest = plan.digest
    if row.plan_digest is not None:
        if row.plan_digest != digest:
            raise AlreadyPlanned(f"deployment {deployment!r} has another plan already")
        return await _fence(session, row)
    row.plan = plan.model_dump(mode="json")
    row.plan_digest = digest
    row.replaces = plan.replaces
    waves = {name: wave.number for wave in plan.waves for name in wave.nodes}
    await _add_nodes(session, tenant, deployment, waves, prior)
    await take_over(session, tenant, deployment)
    size = f"{count(len(plan.waves), 'wave')}, {count(len(waves), 'node')}"
    await events.append(
        session,
        tenant,
        deployment,
        key="planned",
        kind=EventKind.PLANNED,
        payload={
            "message": f"{plan.strategy}: {size}, plan {digest[:12]}",
            "plan": digest,
            "waves": [len(wave.nodes) for wave in plan.waves],
        },
    )
    return await _fence(session, row)


async def _add_nodes(
    session: AsyncSession,
    tenant: str,
    deployment: str,
    waves: Mapping[str, int],
    prior: Mapping[str, ReleaseRef | None],
    *,
    touched: bool = False,
) -> None:
    rows = [
        {
            "tenant": tenant,
            "deployment": deployment,
            "node": name,
            "wave": wave,
            "prior": ref.model_dump(mode="json") if (ref := prior[name]) is not None else None,
        }
        for name, wave in waves.items()
    ]
    if not rows:
        return
    values: dict[Any, Any] = {"touched_at": func.now()} if touched else {}
    await session.execute(insert(DeploymentNodeRow).values(values).on_conflict_do_nothing(), rows)


async def _fence(session: AsyncSession, row: DeploymentRow) -> int:
    """The deployment's fence, above that of every deployment of the environment that was planned before."""
    if row.sequence is None:
        drawn = await session.scalar(
            update(EnvironmentRow)
            .where(EnvironmentRow.tenant == row.tenant, EnvironmentRow.name == row.environment)
            .values(sequence=EnvironmentRow.sequence + 1)
            .returning(EnvironmentRow.sequence)
        )
        if drawn is None:
            raise NotFound(f"no environment {row.environment!r}")
        row.sequence = drawn
        await session.flush()
    return row.sequence * FENCES_PER_DEPLOYMENT


async def touch(session: AsyncSession, tenant: str, deployment: str, nodes: Iterable[str], wave: int) -> None:
    """Mark nodes as touched, before they are changed.

    The lock on the deployment's row orders this against the rollback's first record: after that no node
    can be added to what the rollback takes back.

    Raises:
        Conflict: the deployment is rolling back, or has ended, or a node is not of this wave.
        NotFound: no such deployment of this tenant.
    """
    await goes_forward(session, tenant, deployment)
    names = tuple(nodes)
    marked = await session.scalars(
        update(DeploymentNodeRow)
        .where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == deployment,
            DeploymentNodeRow.node.in_(names),
            DeploymentNodeRow.wave == wave,
        )
        .values(touched_at=func.coalesce(DeploymentNodeRow.touched_at, func.now()))
        .returning(DeploymentNodeRow.node)
    )
    strangers = set(names) - set(marked)
    if strangers:
        raise Conflict(f"not in wave {wave} of deployment {deployment!r}: {', '.join(sorted(strangers))}")


async def goes_forward(session: AsyncSession, tenant: str, deployment: str) -> None:
    """Lock the deployment's row and see that nodes may still change for it.

    Raises:
        Conflict: it is rolling back, or has ended.
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    phase = Phase(row.phase)
    if phase.terminal or phase is Phase.ROLLING_BACK:
        raise Conflict(f"deployment {deployment!r} is {phase}: no node may change for it any more")


async def record_outcomes(
    session: AsyncSession, tenant: str, deployment: str, outcomes: Sequence[NodeOutcome]
) -> None:
    """Write what became of a batch's nodes, in one statement.

    A success clears an earlier fault; going back does not, for the fault is why.
    """
    if not outcomes:
        return
    batch = [
        {**outcome.model_dump(mode="json", exclude_none=True), "proved": outcome.outcome in _PROVED}
        for outcome in outcomes
    ]
    written = (
        func.jsonb_to_recordset(bindparam("batch", batch, type_=JSONB))
        .table_valued(
            column("node", Text),
            column("outcome", Text),
            column("fault", JSONB),
            column("observed", JSONB),
            column("proved", Boolean),
        )
        .render_derived(name="written", with_types=True)
    )
    await session.execute(
        update(DeploymentNodeRow)
        .where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == deployment,
            DeploymentNodeRow.node == written.c.node,
        )
        .values(
            outcome=written.c.outcome,
            fault=case(
                (written.c.outcome.in_(_BACK), func.coalesce(written.c.fault, DeploymentNodeRow.fault)),
                else_=written.c.fault,
            ),
            observed=func.coalesce(written.c.observed, DeploymentNodeRow.observed),
            verified_at=case((written.c.proved, func.now()), else_=DeploymentNodeRow.verified_at),
        )
        .execution_options(synchronize_session=False)
    )


async def prior(
    session: AsyncSession, tenant: str, of: str, nodes: Iterable[str]
) -> dict[str, ReleaseRef | None]:
    """What nodes ran before deployment `of`; None where the module was not installed."""
    found = await session.execute(
        select(DeploymentNodeRow.node, DeploymentNodeRow.prior).where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == of,
            DeploymentNodeRow.node.in_(tuple(nodes)),
        )
    )
    return {node: ReleaseRef.model_validate(ref) if ref else None for node, ref in found}


async def rollback_targets(session: AsyncSession, tenant: str, deployment: str, of: str) -> RollbackTargets:
    """The nodes that `of` touched and that have not left, with a fence above all that was ordered before.

    A deployment that is taken back by a later record (`deployment` differs from `of`) gives that record
    its nodes, so that what becomes of them has a place.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    if deployment == of and row.plan is None:
        await take_over(session, tenant, deployment)
    undone, brought = await deployment_with_release(session, tenant, of)
    release = ref_of(brought)
    there = select(NodeRow.name).where(
        NodeRow.tenant == DeploymentNodeRow.tenant, NodeRow.name == DeploymentNodeRow.node
    )
    touched = await session.execute(
        select(DeploymentNodeRow.node, DeploymentNodeRow.wave)
        .where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == of,
            DeploymentNodeRow.touched_at.is_not(None),
            there.exists(),
        )
        .order_by(DeploymentNodeRow.wave, DeploymentNodeRow.node)
    )
    nodes = tuple(node for node, _wave in touched)
    fence = await _fence(session, row)
    if deployment == of:
        fence += 1
    else:
        await _add_nodes(
            session, tenant, deployment, dict.fromkeys(nodes, 1), dict.fromkeys(nodes, release), touched=True
        )
    terms = await _terms(session, undone)
    return RollbackTargets(
        module=release.module,
        version=release.version,
        nodes=nodes,
        fence=fence,
        deadline=terms.deadlines.node,
        rule=terms.rollback,
        hooks=terms.hooks,
    )


async def take_over(session: AsyncSession, tenant: str, deployment: str) -> None:
    """Make the nodes that a deployment took over its own: changed, and with the base of the first."""
    taken = await inheritance.inherited(session, tenant, deployment)
    await _add_nodes(session, tenant, deployment, dict.fromkeys(taken, 1), taken)
    await session.execute(
        update(DeploymentNodeRow)
        .where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == deployment,
            DeploymentNodeRow.node.in_(tuple(taken)),
        )
        .values(touched_at=func.coalesce(DeploymentNodeRow.touched_at, func.now()))
    )


async def _terms(session: AsyncSession, row: DeploymentRow) -> Plan | EnvironmentPolicy:
    """The plan's; without one nothing was touched, and the policy's will do."""
    if row.plan is not None:
        return Plan.model_validate(row.plan)
    environment = await environment_row(session, row.tenant, row.environment)
    return EnvironmentPolicy.model_validate(environment.policy)
