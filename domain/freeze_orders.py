"""Freezing and thawing an environment by order of a person, through the API or as signals to its lane.

Stopping needs no proof of who asks: an unsigned `freeze` counts. A `thaw` lets rollouts go on, so it needs
a token of the API.
"""

from enum import StrEnum

from pydantic import Field

from domain.base import Frozen
from domain.names import EnvironmentName, TenantId
from domain.permissions import Permission, may
from domain.roles import Role


class FreezeOrder(StrEnum):
    """What a person may order of a lane."""

    FREEZE = "freeze"
    THAW = "thaw"


class FreezeBody(Frozen):
    """The one JSON argument of either signal. Without a token, `actor` is only what the sender says.

    `until` is seconds since the epoch; without it the freeze lasts until it is thawed.
    """

    actor: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=1000)
    until: float | None = Field(default=None, ge=0, le=1e11)
    token: str | None = Field(default=None, max_length=8192)


class ThawClaims(Frozen):
    """What a thaw token says, after its signature was checked."""

    tenant: TenantId
    subject: str
    role: Role
    environment: EnvironmentName
    token_id: str


class ThawTokenVerdict(Frozen):
    """What a thaw token says, or why it says nothing."""

    claims: ThawClaims | None = None
    refusal: str | None = None


class AdHocFreeze(Frozen):
    """An environment frozen now; `key` is the same in every repeat of the same order."""

    tenant: TenantId
    environment: EnvironmentName
    key: str
    actor: str
    reason: str
    until: float | None = None


class Thaw(Frozen):
    """All ad-hoc freezes of an environment ended."""

    tenant: TenantId
    environment: EnvironmentName
    actor: str
    reason: str


class FreezeQuestion(Frozen):
    """Whether a deployment's nodes may start at `at`, seconds since the epoch."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    at: float


def thaw_objection(claims: ThawClaims, *, tenant: str, environment: str, used: tuple[str, ...]) -> str | None:
    """Why a thaw does not count, in words; None when it does."""
    if (claims.tenant, claims.environment) != (tenant, environment):
        return "the token is for another environment"
    if claims.token_id in used:
        return "the token was used before"
    return None if may(claims.role, Permission.FREEZE) else f"role {claims.role} may not thaw"
