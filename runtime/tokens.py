"""Signed tokens: JSON Web Tokens (RFC 7519) with EdDSA over Ed25519 (RFC 8037), one audience per use.

| audience | says | lives |
|---|---|---|
| hotswap | who is signed in, of which tenant, with which role | 60 min |
| hotswap-vote | one vote of one person at one gate, about one plan | 10 min |
| hotswap-delegation | that an approver hands his one vote at a gate on | 10 min |
| hotswap-link | in a link: the vote that its bearer may cast | as ordered, 7 days at most |
| hotswap-command | one command of one person to one deployment | 10 min |
| hotswap-thaw | that one person lets one environment thaw | 10 min |
| hotswap-node | that a node may report about itself, until its next token | 365 days |

The API mints; whoever has the public key can read. The algorithm is pinned, and a token of one use is
nothing in another.
"""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self, TypeVar

import jwt
from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from domain.base import Frozen
from domain.command import CommandClaims, CommandName
from domain.delegation import Delegation, DelegationKind, LinkClaims
from domain.errors import InvalidInput, Unauthenticated
from domain.freeze_orders import ThawClaims
from domain.names import NodeName, TenantId, Username
from domain.roles import Role
from domain.vote import Claims, Decision
from runtime.keyring import Keyring, SigningKey

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "hotswap"
USER_AUDIENCE: Final = "hotswap"
VOTE_AUDIENCE: Final = "hotswap-vote"
DELEGATION_AUDIENCE: Final = "hotswap-delegation"
LINK_AUDIENCE: Final = "hotswap-link"
COMMAND_AUDIENCE: Final = "hotswap-command"
THAW_AUDIENCE: Final = "hotswap-thaw"
NODE_AUDIENCE: Final = "hotswap-node"

USER_LIFE: Final = timedelta(minutes=60)
VOTE_LIFE: Final = timedelta(minutes=10)
DELEGATION_LIFE: Final = timedelta(minutes=10)
LONGEST_LINK_LIFE: Final = timedelta(days=7)
COMMAND_LIFE: Final = timedelta(minutes=10)
THAW_LIFE: Final = timedelta(minutes=10)
NODE_LIFE: Final = timedelta(days=365)

CLOCK_SKEW: Final = timedelta(seconds=5)  # between the machines of one installation
USERS_KEPT: Final = 10_000
_FOREIGN_KEY: Final = "the token is signed with a key that does not count"
_EXPIRED: Final = "the token has expired"
_REQUIRED: Final = ["iss", "aud", "sub", "iat", "exp", "jti"]

Said = TypeVar("Said", bound=Frozen)


class TokenForged(Unauthenticated):
    """The token was not made by us for this use, or was changed."""

    code = "token-forged"


class TokenExpired(Unauthenticated):
    """The token was ours and is too old."""

    code = "token-expired"


class UserClaims(Frozen):
    """Who is signed in."""

    tenant: TenantId
    subject: Username
    role: Role
    expires: datetime
    sid: str | None = None


class NodeClaims(Frozen):
    """Which node reports; only the token with the node's present id counts."""

    tenant: TenantId
    subject: NodeName
    token_id: str


class DelegationClaims(Frozen):
    """Which vote its owner hands on."""

    tenant: TenantId
    subject: Username
    delegation: Delegation


class Minted(Frozen):
    """A new token and when it ends to be one."""

    token: str
    token_id: str
    expires: datetime


class TokenMinter:
    """Makes tokens; holds the private key."""

    def __init__(self, key: Ed25519PrivateKey | SigningKey) -> None:
        self._key = key if isinstance(key, SigningKey) else SigningKey(key)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the private key from a PEM file (PKCS #8); a new key in the file is used from then on.

        Raises:
            InvalidInput: the file holds no unencrypted Ed25519 key, or one that everybody has.
        """
        return cls(SigningKey.load(path))

    def reader(self) -> "TokenReader":
        """A reader of the tokens that this minter makes."""
        return TokenReader(self._key.present()[1].public_key())

    def user(self, *, tenant: str, username: str, role: Role, session: str | None = None) -> Minted:
        """For a person who has just proved who he is; `session` is what ends it before its time."""
        said = {"tenant": tenant, "role": role, **({"sid": session} if session else {})}
        return self._mint(USER_AUDIENCE, username, USER_LIFE, **said)

    def vote(
        self,
        *,
        tenant: str,
        voter: str,
        role: Role,
        gate: str,
        plan: str,
        decision: Decision,
        groups: tuple[str, ...] = (),
        on_behalf_of: str | None = None,
        delegation: str | None = None,
    ) -> Minted:
        """For one vote; `plan` is the digest that it binds to.

        A vote by delegation names it, and on whose behalf it is; role and groups are the delegator's.
        """
        said = {"tenant": tenant, "role": role, "gate": gate, "plan": plan, "decision": decision}
        delegated = {"on_behalf_of": on_behalf_of, "delegation": delegation} if delegation else {}
        return self._mint(VOTE_AUDIENCE, voter, VOTE_LIFE, **said, groups=list(groups), **delegated)

    def delegation(self, delegation: Delegation, *, tenant: str) -> Minted:
        """For the signal that hands a vote on."""
        said = delegation.model_dump(mode="json")
        return self._mint(
            DELEGATION_AUDIENCE, delegation.delegator, DELEGATION_LIFE, tenant=tenant, delegation=said
        )

    def link(self, delegation: Delegation, *, tenant: str, life: timedelta) -> Minted:
        """For a link that casts the vote of a delegation, without a login.

        Raises:
            InvalidInput: the delegation is not one for a link.
        """
        if delegation.kind is not DelegationKind.LINK or delegation.decision is None:
            raise InvalidInput("a link is for one decision", field="decision")
        said = {
            "tenant": tenant,
            "delegate": delegation.delegate,
            "gate": delegation.gate,
            "plan": delegation.plan,
            "decision": delegation.decision,
        }
        return self._mint(LINK_AUDIENCE, delegation.delegator, life, token_id=delegation.id, **said)

    def command(
        self, *, tenant: str, actor: str, role: Role, deployment: str, command: CommandName
    ) -> Minted:
        """For one command to a deployment."""
        said = {"tenant": tenant, "role": role, "deployment": deployment, "command": command}
        return self._mint(COMMAND_AUDIENCE, actor, COMMAND_LIFE, **said)

    def thaw(self, *, tenant: str, actor: str, role: Role, environment: str) -> Minted:
        """For one thaw of one environment."""
        return self._mint(THAW_AUDIENCE, actor, THAW_LIFE, tenant=tenant, role=role, environment=environment)

    def node(self, *, tenant: str, node: str) -> Minted:
        """For a node's heartbeats."""
        return self._mint(NODE_AUDIENCE, node, NODE_LIFE, tenant=tenant)

    def _mint(
        self, audience: str, subject: str, life: timedelta, *, token_id: str | None = None, **said: Any
    ) -> Minted:
        now = datetime.now(UTC).replace(microsecond=0)
        token_id = token_id or secrets.token_urlsafe(16)
        standard = {
            "iss": ISSUER,
            "aud": audience,
            "sub": subject,
            "iat": now,
            "exp": now + life,
            "jti": token_id,
        }
        key_id, key = self._key.present()
        token = jwt.encode(
            {**said, **standard}, key, algorithm=ALGORITHM, headers={"typ": audience, "kid": key_id}
        )
        return Minted(token=token, token_id=token_id, expires=now + life)


class TokenReader:
    """Checks tokens; needs the public key only.

    All methods raise TokenExpired for a token that was good once and TokenForged for anything else that
    is not a good token of that use.
    """

    def __init__(self, keys: Ed25519PublicKey | Keyring) -> None:
        self.keyring = keys if isinstance(keys, Keyring) else Keyring(keys)
        self._users: LRUCache[str, tuple[str, UserClaims]] = LRUCache(maxsize=USERS_KEPT)
        self._lock = Lock()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the public keys from a file of PEM blocks; a changed file is read again.

        Raises:
            InvalidInput: the file holds no public key, or one that is not Ed25519.
        """
        return cls(Keyring.load(path))

    def user(self, token: str) -> UserClaims:
        """Who is signed in. A signature that was checked once is not checked again; all else is."""
        with self._lock:
            known = self._users.get(token)
        if known is None:
            claims = self._read(token, USER_AUDIENCE, UserClaims)
            with self._lock:
                self._users[token] = _key_id(token), claims
            return claims
        key_id, claims = known
        if self.keyring.find(key_id) is None:
            raise TokenForged(_FOREIGN_KEY)
        if datetime.now(UTC) >= claims.expires + CLOCK_SKEW:
            raise TokenExpired(_EXPIRED)
        return claims

    def vote(self, token: str) -> Claims:
        """What a vote token says."""
        return self._read(token, VOTE_AUDIENCE, Claims)

    def delegation(self, token: str) -> Delegation:
        """The delegation that a token is of."""
        return self._read(token, DELEGATION_AUDIENCE, DelegationClaims).delegation

    def link(self, token: str) -> LinkClaims:
        """What a link's token says."""
        return self._read(token, LINK_AUDIENCE, LinkClaims)

    def command(self, token: str) -> CommandClaims:
        """What a command token says."""
        return self._read(token, COMMAND_AUDIENCE, CommandClaims)

    def thaw(self, token: str) -> ThawClaims:
        """Who lets which environment thaw."""
        return self._read(token, THAW_AUDIENCE, ThawClaims)

    def node(self, token: str) -> NodeClaims:
        """Which node the token is for."""
        return self._read(token, NODE_AUDIENCE, NodeClaims)

    def _read(self, token: str, audience: str, model: type[Said]) -> Said:
        try:
            key = self.keyring.find(_key_id(token))
            if key is None:
                raise TokenForged(_FOREIGN_KEY)
            payload: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                leeway=CLOCK_SKEW,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired(_EXPIRED) from error
        except jwt.InvalidTokenError as error:
            raise TokenForged("the token is not one of ours for this use") from error
        named = {"subject": payload["sub"], "token_id": payload["jti"], "expires": payload["exp"]}
        try:
            return model.model_validate({**payload, **named})
        except ValidationError as error:
            raise TokenForged("the token does not say what it must") from error


def _key_id(token: str) -> str:
    return str(jwt.get_unverified_header(token).get("kid"))
