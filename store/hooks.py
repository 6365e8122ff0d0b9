"""What came of hooks: events of their deployment, and the last of each hook as it stands."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.events import EventKind
from domain.hooks import HookOrder, HookOutcome, HookRun
from store import events
from store.rows import locked_deployment
from store.tables import EventRow

KINDS = (EventKind.HOOK_CALLED, EventKind.HOOK_WAITS, EventKind.HOOK_ABORTED, EventKind.HOOK_FAILED)


async def record(
    session: AsyncSession,
    order: HookOrder,
    outcome: HookOutcome,
    *,
    key: str,
    kind: EventKind,
    message: str,
) -> None:
    """Write what came of a hook, once per key.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    await locked_deployment(session, order.tenant, order.deployment)
    run = HookRun(
        id=order.id,
        hook=order.rule.name,
        point=order.rule.at,
        wave=order.wave,
        node=order.node,
        result=outcome.result,
        message=outcome.message,
        link=outcome.link,
        attempts=outcome.attempts,
    )
    payload = {"message": message, "run": run.model_dump(mode="json")}
    await events.append(session, order.tenant, order.deployment, key=key, kind=kind, payload=payload)


async def of_deployment(session: AsyncSession, tenant: str, deployment: str) -> list[HookRun]:
    """Every hook of a deployment with the last that is known of it, in the order of their first events."""
    rows = await session.scalars(
        select(EventRow.payload)
        .where(EventRow.tenant == tenant, EventRow.deployment == deployment, EventRow.kind.in_(KINDS))
        .order_by(EventRow.id)
    )
    found: dict[str, HookRun] = {}
    for payload in rows:
        run = HookRun.model_validate(payload["run"])
        found[run.id] = run
    return list(found.values())
