"""Freezes of an environment: its calendar, and freezing and thawing it now."""

import json
import secrets
import shlex
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, StringConstraints

from api.access import Caller, Freezer, PolicySetter, Viewer
from api.audit import done, record
from api.lanes import thawed
from api.services import Hands, Services
from api.views.freeze import FreezesView, FreezeView, freezes_view
from domain.audit import AuditCategory
from domain.base import Strict
from domain.calendar import CalendarWindow
from domain.errors import Conflict, InvalidInput
from domain.freeze_orders import AdHocFreeze, FreezeBody, FreezeOrder, Thaw
from domain.names import lane_id
from store import environments, freezes

router = APIRouter(prefix="/clusters", tags=["freezes"])

Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
FARTHEST: Final = 365 * 86400.0  # seconds: a freeze that lasts longer never opens


class FreezeNow(Strict):
    """Why nothing may start from now on, and until when; without `until` it lasts until it is thawed."""

    reason: Reason
    until: AwareDatetime | None = None


class Why(Strict):
    """Why."""

    reason: Reason


class ThawTicket(BaseModel):
    """A token for one thaw, the signal's argument that carries it, and the command that sends it."""

    token: str
    expires_at: datetime
    signal: FreezeBody
    command: str


@router.get("/{environment}/freezes")
async def list_freezes(
    environment: str,
    caller: Viewer,
    hands: Hands,
    removed: Annotated[bool, Query(description="Also those that were removed.")] = False,
) -> FreezesView:
    """Whether the environment is frozen now, and its freezes."""
    async with hands.database.transaction(caller.tenant) as session:
        await environments.get(session, caller.tenant, environment)
        stored = await freezes.of_environment(session, caller.tenant, environment, removed=removed)
    return freezes_view(environment, stored, datetime.now(UTC))


@router.post("/{environment}/freezes", status_code=HTTPStatus.CREATED)
async def add_freeze(
    environment: str, body: CalendarWindow, caller: PolicySetter, hands: Hands
) -> FreezeView:
    """Put a window into the calendar. A rollout under way holds when it begins, and goes on afterwards."""
    async with hands.database.transaction(caller.tenant) as session:
        stored = await freezes.add_window(session, caller.tenant, environment, body, caller.username)
    return FreezeView.of(stored, datetime.now(UTC))


@router.delete("/{environment}/freezes/{freeze}")
async def remove_freeze(
    environment: str,
    freeze: str,
    caller: PolicySetter,
    hands: Hands,
    reason: Annotated[str, Query(max_length=1000, description="Why; kept.")] = "",
) -> FreezeView:
    """Take a freeze out, by its id or its name. What it holds goes on."""
    async with hands.database.transaction(caller.tenant) as session:
        stored = await freezes.remove(
            session, caller.tenant, environment, freeze, actor=caller.username, reason=reason
        )
        held = await freezes.held(session, caller.tenant, environment)
    await thawed(hands.temporal, caller.tenant, environment, held)
    return FreezeView.of(stored, datetime.now(UTC))


@router.post("/{environment}/freeze")
async def freeze_now(environment: str, body: FreezeNow, caller: Freezer, hands: Hands) -> FreezesView:
    """Let nothing start on the environment's nodes from now on. Rollbacks still run."""
    now = datetime.now(UTC)
    if body.until is not None and not 0 < (body.until - now).total_seconds() <= FARTHEST:
        raise InvalidInput("a freeze must end after now, and within a year", field="until")
    await _known(hands, caller, environment)
    order = AdHocFreeze(
        tenant=caller.tenant,
        environment=environment,
        key=secrets.token_hex(8),
        actor=caller.username,
        reason=body.reason,
        until=body.until.timestamp() if body.until else None,
    )
    async with hands.database.transaction(caller.tenant) as session:
        await freezes.freeze(session, order)
        stored = await freezes.of_environment(session, caller.tenant, environment)
    return freezes_view(environment, stored, now)


@router.post("/{environment}/thaw")
async def thaw(environment: str, body: Why, caller: Freezer, hands: Hands) -> FreezesView:
    """End what people froze. The calendar stays as it is."""
    await _known(hands, caller, environment)
    order = Thaw(tenant=caller.tenant, environment=environment, actor=caller.username, reason=body.reason)
    async with hands.database.transaction(caller.tenant) as session:
        lifted = await freezes.thaw(session, order)
        stored = await freezes.of_environment(session, caller.tenant, environment)
        held = await freezes.held(session, caller.tenant, environment)
    shown = freezes_view(environment, stored, datetime.now(UTC))
    if not lifted:
        by = f"only by its calendar: {shown.freeze.reason}" if shown.freeze else "by nobody"
        raise Conflict(f"{environment} is frozen {by}", field="environment")
    await thawed(hands.temporal, caller.tenant, environment, held)
    return shown


@router.post("/{environment}/thaw/token")
async def thaw_token(
    environment: str, body: Why, caller: Freezer, hands: Hands, response: Response
) -> ThawTicket:
    """A token for one thaw through the Temporal console or its CLI."""
    await _known(hands, caller, environment)
    minted = hands.minter.thaw(
        tenant=caller.tenant, actor=caller.username, role=caller.role, environment=environment
    )
    kind = AuditCategory.ENVIRONMENT
    note = done(caller, "thaw-token.minted", kind, "environment", environment, reason=body.reason)
    await record(hands, caller, note)
    response.headers["Cache-Control"] = "no-store"
    signal = FreezeBody(actor=caller.username, reason=body.reason, token=minted.token)
    argument = json.dumps(signal.model_dump(exclude_none=True))
    words = [
        *("temporal", "workflow", "signal", "--address", hands.settings.temporal_address),
        *("--namespace", hands.settings.temporal_namespace),
        *("--workflow-id", lane_id(caller.tenant, environment), "--name", FreezeOrder.THAW),
        *("--input", argument),
    ]
    return ThawTicket(token=minted.token, expires_at=minted.expires, signal=signal, command=shlex.join(words))


async def _known(hands: Services, caller: Caller, environment: str) -> None:
    """Nothing is made of a name that no environment has.

    Raises:
        NotFound: no such environment of the caller's tenant.
    """
    async with hands.database.transaction(caller.tenant) as session:
        await environments.get(session, caller.tenant, environment)
