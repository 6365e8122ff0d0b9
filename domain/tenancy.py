"""Tenants: their life as an explicit table, their tiers and quotas, and what their creation takes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from domain.base import Frozen
from domain.errors import Conflict, Forbidden, IllegalTransition, InvalidInput
from domain.names import TenantId, Username

GIBIBYTE: Final = 1024**3
NEARLY: Final = 0.9
# Names that a host in front of the API may have for other purposes: no tenant gets such a subdomain.
RESERVED: Final = (
    *("admin", "api", "app", "assets", "auth", "blog", "cdn", "console", "demo", "dev", "dns", "docs"),
    *("ftp", "grafana", "help", "internal", "mail", "metrics", "mx", "ns1", "ns2", "prometheus", "qa"),
    *("smtp", "sso", "staging", "static", "status", "support", "temporal", "test", "vpn", "www"),
)


class TenantState(StrEnum):
    """Where a tenant's life has come to."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEPROVISIONING = "deprovisioning"
    DELETED = "deleted"


# From each state to those that may follow. Provisioning that fails is undone and ends as deleted.
TRANSITIONS: Final[Mapping[TenantState, tuple[TenantState, ...]]] = {
    TenantState.PROVISIONING: (TenantState.ACTIVE, TenantState.DELETED),
    TenantState.ACTIVE: (TenantState.SUSPENDED, TenantState.DEPROVISIONING),
    TenantState.SUSPENDED: (TenantState.ACTIVE, TenantState.DEPROVISIONING),
    TenantState.DEPROVISIONING: (TenantState.DELETED,),
    TenantState.DELETED: (),
}


def move(present: TenantState, following: TenantState) -> TenantState:
    """The following state, when the table has the step.

    Raises:
        IllegalTransition: it has not.
    """
    if following not in TRANSITIONS[present]:
        raise IllegalTransition(f"a tenant that is {present} cannot become {following}")
    return following


class TenantSuspended(Forbidden):
    """The tenant is suspended: its requests are refused until it is active again."""

    code = "tenant-suspended"


class TenantUnavailable(Forbidden):
    """The tenant is not there yet, or not any more."""

    code = "tenant-unavailable"


class TenantMismatch(Forbidden):
    """The subdomain or X-Tenant-ID names another tenant than the token."""

    code = "tenant-mismatch"


class QuotaExceeded(Conflict):
    """The tenant's quota does not allow one more."""

    code = "quota-exceeded"


class Tier(StrEnum):
    """What a tenant has subscribed to."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"
    CUSTOM = "custom"


_Limit = Annotated[int, Field(ge=0, le=2**62)] | None


class Quota(Frozen):
    """At most so many; None is no limit.

    Attributes:
        nodes: registered nodes.
        deployments: deployments that wait or are under way at once.
        storage_bytes: bytes of all releases' bundles together.
        requests_per_minute: requests of all people and nodes of the tenant together.
    """

    nodes: _Limit = None
    deployments: _Limit = None
    storage_bytes: _Limit = None
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


QUOTAS: Final[Mapping[Tier, Quota]] = {
    Tier.FREE: Quota(nodes=10, deployments=1, storage_bytes=GIBIBYTE, requests_per_minute=100),
    Tier.STARTER: Quota(nodes=50, deployments=3, storage_bytes=10 * GIBIBYTE, requests_per_minute=1000),
    Tier.PROFESSIONAL: Quota(
        nodes=500, deployments=10, storage_bytes=100 * GIBIBYTE, requests_per_minute=5000
    ),
    Tier.ENTERPRISE: Quota(
        nodes=5000, deployments=50, storage_bytes=500 * GIBIBYTE, requests_per_minute=50_000
    ),
    Tier.CUSTOM: Quota(),
}


def quota_of(tier: Tier, own: Quota | None) -> Quota:
    """What counts: the tier's figures, or the tenant's own, which only the custom tier has."""
    return own if tier is Tier.CUSTOM and own is not None else QUOTAS[tier]


def nearly_used(limit: int | None, used: int) -> bool:
    """Whether of what a quota allows nine tenths are in use."""
    return limit is not None and limit > 0 and used >= limit * NEARLY


def check_quota(tier: Tier, own: Quota | None) -> None:
    """See that figures of one's own come with the custom tier only.

    Raises:
        InvalidInput: they do not.
    """
    if own is not None and tier is not Tier.CUSTOM:
        raise InvalidInput(f"the tier {tier} has its own quota: take the tier custom", field="quota")


def check_name(tenant: str) -> None:
    """See that a tenant may have this name: it is a subdomain too.

    Raises:
        InvalidInput: it is reserved.
    """
    if tenant in RESERVED:
        raise InvalidInput(f"the name {tenant!r} is reserved", field="id")


def acting_name(username: str, platform: str) -> str:
    """Under which name an admin of the platform's tenant acts in another one."""
    return f"{username}@{platform}"


def is_acting_name(username: str, platform: str) -> bool:
    """Whether a name is, or looks like, that of an admin of the platform in another tenant."""
    return username.endswith(acting_name("", platform))


def check_username(username: str, platform: str, *, field: str = "username") -> None:
    """See that a person of a tenant has no name that an admin of the platform acts under.

    Raises:
        InvalidInput: it is one.
    """
    if is_acting_name(username, platform):
        raise InvalidInput(f"names that end in @{platform} are the platform's administrators'", field=field)


class TenantOrder(Frozen):
    """What a tenant's workflow works on; `actor` is who asked for it, `admin` the first admin's name."""

    tenant: TenantId
    actor: Username
    admin: Username = "admin"


class TenantStep(StrEnum):
    """What is made for a new tenant, in this order; each can be taken back."""

    ENVIRONMENTS = "environments"
    ADMIN = "admin"


class TenantPart(Frozen):
    """One step for one tenant."""

    order: TenantOrder
    step: TenantStep


class TenantMove(Frozen):
    """Bring a tenant into a state; being there already is fine."""

    tenant: TenantId
    actor: Username
    to: TenantState
    reason: str = ""
