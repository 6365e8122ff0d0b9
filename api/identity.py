"""Who a bearer token is of: a session of ours, an API key, or a person of the external issuer.

What the database says about the person (role, disabled, session over, key revoked) is asked for at most
every STANDING_SECONDS per token and process; what is revoked is refused at once here, and within that time by
the other replicas.
"""

import asyncio
import hashlib
from functools import partial
from typing import Final

from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncSession

from api.services import Services
from api.together import Question, Together
from domain.base import Frozen
from domain.errors import Forbidden, Unauthenticated
from domain.identity import TokenRevoked
from domain.names import TenantId, Username
from domain.permissions import NEVER_BY_KEY, Permission, may
from domain.roles import Role
from domain.tenancy import Quota, is_acting_name
from runtime.oidc import External
from store import api_keys, sessions, tenants
from store.api_keys import KeyText

STANDING_SECONDS: Final = 5.0
STANDINGS_KEPT: Final = 20_000
KEYS_AT_ONCE: Final = 4


class Caller(Frozen):
    """A signed-in person.

    Attributes:
        tenant, username, role: who it is, and what he is now (not when the token was made).
        session: the sign-in that the token belongs to, when it is one of ours.
        scopes: what an API key may be used for; None when no key is used.
        must_change: nothing is allowed before the password is changed.
        requests_per_minute: what the tenant's quota allows all its people together; None for the setting's.
        platform: an admin of the tenant that administers the platform.
        acting: such an admin in another tenant, which X-Tenant-ID chose.
    """

    tenant: TenantId
    username: Username
    role: Role
    session: str | None = None
    scopes: tuple[Permission, ...] | None = None
    must_change: bool = False
    requests_per_minute: int | None = None
    platform: bool = False
    acting: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether the role grants it and, for an API key, its scopes do too."""
        return may(self.role, permission) and (self.scopes is None or permission in self.scopes)


class Standings:
    """What was last heard of the holders of tokens; bounded in number and age."""

    def __init__(self, seconds: float = STANDING_SECONDS) -> None:
        self._seconds = seconds
        self._keys = asyncio.Semaphore(KEYS_AT_ONCE)
        self.forget()

    def forget(self) -> None:
        """Ask again about everybody: something was revoked or changed here.

        Answers to what was asked before count for those who asked, and are not kept.
        """
        self._callers: TTLCache[str, Caller] = TTLCache(STANDINGS_KEPT, ttl=self._seconds)
        self._refused: TTLCache[str, Unauthenticated | Forbidden] = TTLCache(
            STANDINGS_KEPT, ttl=self._seconds
        )
        self._quotas: TTLCache[str, Quota] = TTLCache(STANDINGS_KEPT, ttl=self._seconds)
        self._asking: Together[Caller] = Together()

    async def caller(self, hands: Services, token: str) -> Caller:
        """Who is asking.

        Raises:
            Unauthenticated: the token is forged, expired or revoked, or its person is gone or disabled.
            Forbidden: an external person has no role here, or the name of one of ours.
        """
        if token.startswith(api_keys.PREFIX):
            digest = hashlib.sha256(token.encode()).hexdigest()
            return await self._find(digest, partial(self._by_key, hands, token))
        if hands.issuer is not None and hands.issuer.issued(token):
            said = await hands.issuer.read(token)
            name = f"{said.tenant}/{said.subject}/{said.role}@issuer"
            return await self._find(name, partial(_external, hands, said))
        claims = hands.reader.user(token)
        name = f"{claims.tenant}/{claims.subject}/{claims.sid}"
        return await self._find(name, partial(_by_session, hands, claims.tenant, claims.subject, claims.sid))

    async def rate(self, hands: Services, tenant: str) -> int | None:
        """How many requests a minute a tenant's quota allows, to its nodes too; None for the setting's.

        Raises:
            NotFound: there is no such tenant.
        """
        quotas = self._quotas
        known = quotas.get(tenant)
        if known is None:
            async with hands.database.transaction(tenant) as session:
                known = quotas[tenant] = (await tenants.get(session, tenant)).limits
        return known.requests_per_minute

    async def _by_key(self, hands: Services, token: str) -> Caller:
        """A few at once: anybody can make keys up, and all of them may not take more of the database."""
        async with self._keys:
            return await _by_key(hands, token)

    async def _find(self, name: str, question: Question[Caller]) -> Caller:
        """Who has this name: as found lately, or asked for; a refusal is remembered for as long."""
        callers, refused = self._callers, self._refused
        known = callers.get(name)
        if known is not None:
            return known
        refusal = refused.get(name)
        if refusal is not None:
            raise refusal.with_traceback(None)
        try:
            found = callers[name] = await self._asking.ask(name, question)
        except (Unauthenticated, Forbidden) as error:
            refused[name] = error
            raise
        return found


async def _external(hands: Services, said: External) -> Caller:
    if is_acting_name(said.subject, hands.settings.platform_tenant):
        raise Forbidden(f"{said.subject} is a name of the platform's: the issuer may not speak for it")
    async with hands.database.transaction(said.tenant) as session:
        rate = await _rate(session, said.tenant)
        ours = await sessions.standing(session, said.tenant, said.subject, None)
    if ours is not None:
        raise Forbidden(f"{said.subject} is the name of a person of ours: the issuer may not speak for it")
    return Caller(tenant=said.tenant, username=said.subject, role=said.role, requests_per_minute=rate)


async def _rate(session: AsyncSession, tenant: str) -> int | None:
    """How many requests a minute the tenant's quota allows.

    Raises:
        TenantSuspended, TenantUnavailable: none at all.
    """
    return (await tenants.require_open(session, tenant)).limits.requests_per_minute


async def _by_session(hands: Services, tenant: str, username: str, session_id: str | None) -> Caller:
    async with hands.database.transaction(tenant) as session:
        found = await sessions.standing(session, tenant, username, session_id)
        rate = await _rate(session, tenant) if found else None
    if found is None or found.disabled or found.session_over:
        raise TokenRevoked("the token does not count any more: sign in again")
    return Caller(
        tenant=tenant,
        username=username,
        role=found.role,
        session=session_id,
        must_change=found.must_change,
        requests_per_minute=rate,
    )


async def _by_key(hands: Services, token: str) -> Caller:
    given = KeyText.parse(token)
    if given is None:
        raise TokenRevoked("the key does not count")
    async with hands.database.transaction(given.tenant) as session:
        key = await api_keys.find(session, given)
        owner = await sessions.standing(session, given.tenant, key.username, None) if key else None
        rate = await _rate(session, given.tenant) if owner else None
    if key is None or owner is None or owner.disabled or owner.must_change:
        raise TokenRevoked("the key does not count")
    scopes = tuple(scope for scope in key.scopes if scope not in NEVER_BY_KEY)
    return Caller(
        tenant=given.tenant, username=key.username, role=owner.role, scopes=scopes, requests_per_minute=rate
    )
