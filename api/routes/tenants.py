"""Tenants: the platform's admins make, suspend and delete them; everybody sees his own."""

import logging
import secrets
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints
from temporalio.service import RPCError

from api.access import PlatformAdmin, Viewer
from api.lanes import wake
from api.services import Hands, Services
from api.tenancy import start
from bundles.trust import TrustStore
from domain.base import Strict
from domain.errors import Conflict
from domain.names import TenantId, Username
from domain.tenancy import Quota, TenantOrder, TenantState, Tier, check_name, check_quota, check_username
from store import environments, quotas, tenants
from store.quotas import Usage
from store.tenants import StoredTenant

router = APIRouter(tags=["tenants"])

_log = logging.getLogger(__name__)

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Pem = Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class NewTenant(Strict):
    """A tenant to make. `trust` are its own signing roots (PEM); without, the installation's count."""

    id: TenantId
    name: Name
    tier: Tier = Tier.FREE
    quota: Quota | None = None
    trust: Pem | None = None
    admin: Username = "admin"


class TierChange(Strict):
    """Another tier; a quota of its own comes with the tier custom only."""

    tier: Tier
    quota: Quota | None = None


class TrustChange(Strict):
    """Other signing roots (PEM); null: the installation's count."""

    trust: Pem | None


class Suspension(Strict):
    """Why."""

    reason: Reason


class TenantView(BaseModel):
    """A tenant as the platform's admins see it."""

    id: str
    name: str
    state: TenantState
    state_since: datetime
    reason: str
    tier: Tier
    quota: Quota
    first_admin: str
    created_at: datetime

    @classmethod
    def of(cls, stored: StoredTenant) -> "TenantView":
        """The tenant as others see it."""
        return cls.model_validate({**stored.model_dump(), "quota": stored.limits})


class OwnTenant(TenantView):
    """One's own tenant, with what it uses of its quota."""

    usage: Usage


class Tenants(BaseModel):
    """All tenants of the installation."""

    items: list[TenantView]


class FirstPassword(BaseModel):
    """The first admin's password, shown this once; it must be changed at the first sign-in."""

    tenant: str
    username: str
    password: str


@router.get("/tenant")
async def own_tenant(caller: Viewer, hands: Hands) -> OwnTenant:
    """The caller's tenant: its state, its quota, and what it uses of it."""
    async with hands.database.transaction(caller.tenant) as session:
        stored = await tenants.get(session, caller.tenant)
        used = await quotas.usage(session, caller.tenant)
    return OwnTenant(**TenantView.of(stored).model_dump(), usage=used)


@router.get("/tenants")
async def list_tenants(caller: PlatformAdmin, hands: Hands) -> Tenants:
    """Every tenant, by id."""
    async with hands.database.system() as session:
        found = await tenants.list_all(session)
    return Tenants(items=[TenantView.of(each) for each in found])


@router.post("/tenants", status_code=HTTPStatus.ACCEPTED)
async def add_tenant(body: NewTenant, caller: PlatformAdmin, hands: Hands, response: Response) -> TenantView:
    """Make a tenant: its environments with their policies and its first admin, then it is active."""
    check_name(body.id)
    check_quota(body.tier, body.quota)
    check_username(body.admin, hands.settings.platform_tenant, field="admin")
    if body.trust is not None:
        TrustStore.parse(body.trust.encode(), "trust")
    order = TenantOrder(tenant=body.id, actor=caller.username, admin=body.admin)
    async with hands.database.transaction(body.id) as session:
        await tenants.add(session, order, name=body.name, tier=body.tier, quota=body.quota, trust=body.trust)
    await _start(hands, order, removal=False)
    response.headers["Location"] = f"/api/v1/tenants/{body.id}"
    return await get_tenant(body.id, caller, hands)


@router.get("/tenants/{tenant}")
async def get_tenant(tenant: str, caller: PlatformAdmin, hands: Hands) -> TenantView:
    """One tenant."""
    async with hands.database.transaction(tenant) as session:
        return TenantView.of(await tenants.get(session, tenant))


@router.post("/tenants/{tenant}/bootstrap")
async def bootstrap(tenant: str, caller: PlatformAdmin, hands: Hands, response: Response) -> FirstPassword:
    """Give the tenant's first admin a password, once."""
    password = secrets.token_urlsafe(18)
    password_hash = await hands.passwords.hash(password)
    async with hands.database.transaction(tenant) as session:
        admin = await tenants.take_first_password(session, tenant, password_hash, actor=caller.username)
    response.headers["Cache-Control"] = "no-store"
    return FirstPassword(tenant=tenant, username=admin, password=password)


@router.post("/tenants/{tenant}/suspend")
async def suspend(
    tenant: str, body: Suspension, caller: PlatformAdmin, hands: Hands, request: Request
) -> TenantView:
    """Refuse the tenant's requests from now on. What runs comes to its end; what waits keeps waiting."""
    return await _move(
        hands, request, tenant, TenantState.SUSPENDED, actor=caller.username, reason=body.reason
    )


@router.post("/tenants/{tenant}/activate")
async def activate(tenant: str, caller: PlatformAdmin, hands: Hands, request: Request) -> TenantView:
    """End a suspension; what waits goes on."""
    view = await _move(hands, request, tenant, TenantState.ACTIVE, actor=caller.username)
    async with hands.database.transaction(tenant) as session:
        known = await environments.of_tenant(session, tenant)
    for environment in known:
        await wake(hands.temporal, tenant, environment.name, signal="submit", body={})
    return view


@router.put("/tenants/{tenant}/tier")
async def set_tier(
    tenant: str, body: TierChange, caller: PlatformAdmin, hands: Hands, request: Request
) -> TenantView:
    """Another tier. What is used beyond the new quota stays; nothing is added to it."""
    check_quota(body.tier, body.quota)
    async with hands.database.transaction(tenant) as session:
        stored = await tenants.set_tier(session, tenant, body.tier, body.quota, actor=caller.username)
    request.app.state.standings.forget()
    return TenantView.of(stored)


@router.put("/tenants/{tenant}/trust")
async def set_trust(tenant: str, body: TrustChange, caller: PlatformAdmin, hands: Hands) -> TenantView:
    """Other signing roots for what is pushed from now on. What nodes trust is in files on the nodes."""
    roots = TrustStore.parse(body.trust.encode(), "trust").fingerprints if body.trust is not None else ()
    async with hands.database.transaction(tenant) as session:
        stored = await tenants.set_trust(session, tenant, body.trust, roots=roots, actor=caller.username)
    return TenantView.of(stored)


@router.delete("/tenants/{tenant}", status_code=HTTPStatus.ACCEPTED)
async def delete_tenant(tenant: str, caller: PlatformAdmin, hands: Hands, request: Request) -> TenantView:
    """Take a tenant away: what waits is withdrawn, what runs ends, then its data goes, but for the audit."""
    view = await _move(hands, request, tenant, TenantState.DEPROVISIONING, actor=caller.username)
    await _start(hands, TenantOrder(tenant=tenant, actor=caller.username), removal=True)
    return view


async def _move(
    hands: Services, request: Request, tenant: str, to: TenantState, *, actor: str, reason: str = ""
) -> TenantView:
    if tenant == hands.settings.platform_tenant:
        raise Conflict("the platform's own tenant stays as it is", field="tenant")
    async with hands.database.transaction(tenant) as session:
        if to is TenantState.ACTIVE:
            await tenants.require_made(session, tenant)
        stored = await tenants.move_to(session, tenant, to, actor=actor, reason=reason)
    request.app.state.standings.forget()
    return TenantView.of(stored)


async def _start(hands: Services, order: TenantOrder, *, removal: bool) -> None:
    try:
        await start(hands.temporal, order, removal=removal)
    except RPCError as error:
        _log.warning("%s waits for its workflow: %s", order.tenant, error)
