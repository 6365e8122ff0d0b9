"""Tokens of one external issuer (OpenID Connect): checked against its JWKS, its roles mapped to ours."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt
from jwt import PyJWK, PyJWKClient
from pydantic import ValidationError

from domain.base import Frozen
from domain.errors import Forbidden, HotswapError
from domain.names import TenantId, Username
from domain.roles import Role
from runtime.tokens import CLOCK_SKEW, TokenExpired, TokenForged

_log = logging.getLogger(__name__)

# Signatures only: a shared secret (HS…) or "none" would let anybody who knows the public key sign.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
KEYS_LIVE: Final = 300  # seconds that the issuer's keys are kept
KEYS_LAST: Final = 3600.0  # seconds that they count on while the issuer does not answer
LOOK_AGAIN_AFTER: Final = (
    10.0  # seconds until a key that is not known, or an issuer that is away, is asked for again
)
FETCH_TIMEOUT: Final = 5  # seconds
_REQUIRED: Final = ["iss", "aud", "sub", "iat", "exp"]


class IssuerUnavailable(HotswapError):
    """The issuer's keys cannot be fetched; worth another try."""

    code = "issuer-unavailable"


class External(Frozen):
    """Who an external token says is asking, in our words."""

    tenant: TenantId
    subject: Username
    role: Role


class OidcRules(Frozen):
    """What the settings say about the issuer.

    Attributes:
        issuer, audience: what a token must say, exactly.
        jwks_url: where the issuer publishes its keys.
        tenant: whom its people belong to, unless `tenant_claim` names a claim that says so.
        username_claim, roles_claim: where the name and the roles stand; dots lead into objects.
        roles: which external role is which of ours; the highest that matches counts.
    """

    issuer: str
    audience: str
    jwks_url: str
    tenant: TenantId
    tenant_claim: str | None
    username_claim: str
    roles_claim: str
    roles: Mapping[str, Role]


class OidcReader:
    """Checks tokens of the issuer."""

    def __init__(self, rules: OidcRules) -> None:
        self._rules = rules
        self._client = PyJWKClient(rules.jwks_url, cache_jwk_set=False, timeout=FETCH_TIMEOUT)
        self._found: dict[str, PyJWK] = {}
        self._fetched = self._looked = -math.inf  # seconds of the monotonic clock: keys came, or did not help
        self._lock = asyncio.Lock()

    def issued(self, token: str) -> bool:
        """Whether the token says that it is of this issuer; nothing is checked yet."""
        try:
            said = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return False
        return bool(said.get("iss") == self._rules.issuer)

    async def read(self, token: str) -> External:
        """Who is asking.

        Raises:
            TokenExpired: it was good once.
            TokenForged: the issuer has not made it for us.
            Forbidden: it is good, and none of its roles is one of ours.
            IssuerUnavailable: the issuer's keys cannot be fetched.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = str(header.get("alg"))
            key = await self._key(str(header.get("kid")))
            if algorithm not in ALGORITHMS or key.algorithm_name != algorithm:
                raise TokenForged("the token is signed with an algorithm that its key is not for")
            said: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=CLOCK_SKEW,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired") from error
        except jwt.InvalidTokenError as error:
            raise TokenForged("the token is not one of the issuer's for us") from error
        return self._in_our_words(said)

    async def _key(self, wanted: str) -> PyJWK:
        """The issuer's key with this id. For an unknown one they are fetched anew, but not too often."""
        async with self._lock:
            old = time.monotonic() - self._fetched > KEYS_LIVE
            if old or wanted not in self._found:
                await self._look_again(known=bool(self._found))
            if time.monotonic() - self._fetched > KEYS_LAST:
                raise IssuerUnavailable("the issuer's keys cannot be fetched; try again")
        if wanted not in self._found:
            raise TokenForged("the token is signed with a key that the issuer does not have")
        return self._found[wanted]

    async def _look_again(self, *, known: bool) -> None:
        """Fetch the keys, unless that was of no use just now; without an answer those from before stay."""
        if time.monotonic() - self._looked < LOOK_AGAIN_AFTER:
            return
        if known:
            self._looked = time.monotonic()
        try:
            keys = await asyncio.to_thread(self._client.get_signing_keys, refresh=True)
        except (jwt.PyJWTError, ValueError) as error:  # no answer, no keys, or something else altogether
            self._looked = time.monotonic()
            _log.warning("the issuer's keys cannot be fetched: %s", error)
        else:
            self._found, self._fetched = {str(key.key_id): key for key in keys}, time.monotonic()

    def _in_our_words(self, said: Mapping[str, Any]) -> External:
        rules = self._rules
        held = _claim(said, rules.roles_claim)
        named = [held] if isinstance(held, str) else held if isinstance(held, list) else []
        ours = [rules.roles[each] for each in named if isinstance(each, str) and each in rules.roles]
        if not ours:
            raise Forbidden("the issuer gives you no role here")
        if rules.username_claim == "email" and said.get("email_verified", True) is not True:
            raise Forbidden("the issuer has not verified that the e-mail address is yours")
        tenant = _claim(said, rules.tenant_claim) if rules.tenant_claim else rules.tenant
        try:
            return External(
                tenant=str(tenant),
                subject=str(_claim(said, rules.username_claim)).lower(),
                role=max(ours, key=list(Role).index),
            )
        except ValidationError as error:
            raise TokenForged("the token does not say what it must") from error


def _claim(said: Mapping[str, Any], path: str) -> Any:
    found: Any = said
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
