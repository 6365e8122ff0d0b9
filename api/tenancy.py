"""Which tenant a request is about: the token says it; a subdomain or X-Tenant-ID may only say the same.

Admins of the platform's tenant may choose another tenant with X-Tenant-ID; they then act there as
`name@tenant`, so that nobody takes them for one of the tenant's own people.
"""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from api.identity import Caller
from api.lanes import KEEP_EVERY
from api.services import Services
from api.signals import PATIENCE
from domain.errors import Forbidden, NotFound
from domain.names import CONTROL_QUEUE, tenant_removal_id, tenant_workflow_id
from domain.permissions import Permission
from domain.roles import Role
from domain.tenancy import (
    RESERVED,
    TenantMismatch,
    TenantOrder,
    TenantState,
    TenantUnavailable,
    acting_name,
)
from store import tenants
from store.database import Database

_log = logging.getLogger(__name__)

HEADER: Final = "X-Tenant-ID"
LONGEST_NAME: Final = 64
_MAKING: Final = "TenantWorkflow"
_REMOVING: Final = "TenantRemovalWorkflow"
_OWN_ONLY: Final = (Permission.SELF, Permission.OWN_KEYS)


async def resolve(hands: Services, caller: Caller, request: Request) -> Caller:
    """The caller within the tenant that the request is about.

    Raises:
        TenantMismatch: the subdomain or the header names another tenant than the token.
        TenantUnavailable: an admin of the platform chose a tenant that is not there.
    """
    platform = hands.settings.platform_tenant
    ours = caller.tenant == platform and caller.role is Role.ADMIN and caller.scopes is None
    caller = caller.model_copy(update={"platform": ours})
    chosen = request.headers.get(HEADER)
    if chosen not in (None, caller.tenant):
        if not ours:
            raise TenantMismatch(f"the token is for another tenant than {HEADER} says")
        caller = await _acting(hands, caller, str(chosen))
    confirm(hands, caller.tenant, request)
    return caller


def subdomain(host: str, base: str | None) -> str | None:
    """The tenant that a host name is for; None for the bare domain, a reserved name, or without a domain."""
    name = host.rsplit(":", 1)[0].lower()
    if base is None or not name.endswith(f".{base}"):
        return None
    label = name.removesuffix(f".{base}")
    return None if label in RESERVED else label


def confirm(hands: Services, tenant: str, request: Request) -> None:
    """See that a request came to the tenant's own subdomain, where there are subdomains.

    Raises:
        TenantMismatch: the subdomain is another tenant's.
    """
    if subdomain(request.headers.get("host", ""), hands.settings.base_domain) not in (None, tenant):
        raise TenantMismatch(f"this is about {tenant}, the subdomain is another tenant's")


def refuse_own(caller: Caller, permission: Permission) -> None:
    """An admin of the platform who acts in a tenant has no sign-in and no keys there.

    Raises:
        Forbidden: so it is.
    """
    if caller.acting and permission in _OWN_ONLY:
        raise Forbidden(f"this is about your own sign-in: ask without {HEADER}")


async def _acting(hands: Services, caller: Caller, tenant: str) -> Caller:
    async with hands.database.transaction(tenant) as session:
        try:
            found = await tenants.get(session, tenant)
        except NotFound as error:
            raise TenantUnavailable(f"there is no tenant {tenant[:LONGEST_NAME]!r}") from error
    name = acting_name(caller.username, caller.tenant)
    if found.state is TenantState.DELETED or len(name) > LONGEST_NAME:
        raise TenantUnavailable(f"nobody can act in {tenant!r} (any more) as {name!r}")
    return caller.model_copy(update={"tenant": tenant, "username": name, "acting": True})


async def start(client: Client, order: TenantOrder, *, removal: bool = False) -> None:
    """Start the workflow that makes the tenant, or takes it away; one that runs does not notice.

    Raises:
        RPCError: Temporal does not answer; `look_after` does it later.
    """
    await client.start_workflow(
        _REMOVING if removal else _MAKING,
        order,
        id=tenant_removal_id(order.tenant) if removal else tenant_workflow_id(order.tenant),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"tenant {order.tenant}: {'taken away' if removal else 'made'}",
        rpc_timeout=PATIENCE,
    )


async def keep(client: Client, database: Database) -> None:
    """For ever: see to it that every tenant that is being made or taken away has its workflow."""
    while True:
        await asyncio.sleep(KEEP_EVERY)
        try:
            await look_after(client, database)
        except (RPCError, DBAPIError, PoolTimeout) as error:
            _log.warning("tenants are not looked after: %s", error)


async def look_after(client: Client, database: Database) -> None:
    """Start what was not: the process died between the row and the workflow, or Temporal was away."""
    async with database.system() as session:
        found = await tenants.list_all(session, TenantState.PROVISIONING, TenantState.DEPROVISIONING)
    orders = [
        (TenantOrder(tenant=each.id, actor=each.first_admin, admin=each.first_admin), each.state)
        for each in found
    ]
    await asyncio.gather(
        *(start(client, order, removal=state is TenantState.DEPROVISIONING) for order, state in orders)
    )
