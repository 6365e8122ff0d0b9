"""Signed tokens: JSON Web Tokens (RFC 7519) with EdDSA over Ed25519 (RFC 8037), one audience per use.

| audience | says | lives |
|---|---|---|
| hotswap | who is signed in, of which tenant, with which role | 60 min |
| hotswap-vote | one vote of one person at one gate, about one plan | 10 min |
| hotswap-command | one command of one person to one deployment | 10 min |
| hotswap-node | that a node may report about itself, until its next token | 365 days |

The API mints; whoever has the public key can read. The algorithm is pinned, and a token of one use is
nothing in another.
"""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import ValidationError

from domain.base import Frozen
from domain.command import CommandClaims, CommandName
from domain.errors import InvalidInput, Unauthenticated
from domain.gate import Claims, Decision
from domain.names import NodeName, TenantId, Username
from domain.roles import Role

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "hotswap"
USER_AUDIENCE: Final = "hotswap"
VOTE_AUDIENCE: Final = "hotswap-vote"
COMMAND_AUDIENCE: Final = "hotswap-command"
NODE_AUDIENCE: Final = "hotswap-node"

USER_LIFE: Final = timedelta(minutes=60)
VOTE_LIFE: Final = timedelta(minutes=10)
COMMAND_LIFE: Final = timedelta(minutes=10)
NODE_LIFE: Final = timedelta(days=365)

CLOCK_SKEW: Final = timedelta(seconds=5)  # between the machines of one installation
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


class NodeClaims(Frozen):
    """Which node reports; only the token with the node's present id counts."""

    tenant: TenantId
    subject: NodeName
    token_id: str


class Minted(Frozen):
    """A new token and when it ends to be one."""

    token: str
    token_id: str
    expires: datetime


class TokenMinter:
    """Makes tokens; holds the private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the private key from a PEM file (PKCS #8).

        Raises:
            InvalidInput: the file holds no unencrypted Ed25519 key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{path} holds no private key", field="jwt_private_key_file") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput(f"{path} is not an Ed25519 key", field="jwt_private_key_file")
        return cls(key)

    def reader(self) -> "TokenReader":
        """A reader of the tokens that this minter makes."""
        return TokenReader(self._key.public_key())

    def user(self, *, tenant: str, username: str, role: Role) -> Minted:
        """For a person who has just proved who he is."""
        return self._mint(USER_AUDIENCE, username, USER_LIFE, tenant=tenant, role=role)

    def vote(
        self, *, tenant: str, voter: str, role: Role, gate: str, plan: str, decision: Decision
    ) -> Minted:
        """For one vote; `plan` is the digest that it binds to."""
        said = {"tenant": tenant, "role": role, "gate": gate, "plan": plan, "decision": decision}
        return self._mint(VOTE_AUDIENCE, voter, VOTE_LIFE, **said)

    def command(
        self, *, tenant: str, actor: str, role: Role, deployment: str, command: CommandName
    ) -> Minted:
        """For one command to a deployment."""
        said = {"tenant": tenant, "role": role, "deployment": deployment, "command": command}
        return self._mint(COMMAND_AUDIENCE, actor, COMMAND_LIFE, **said)

    def node(self, *, tenant: str, node: str) -> Minted:
        """For a node's heartbeats."""
        return self._mint(NODE_AUDIENCE, node, NODE_LIFE, tenant=tenant)

    def _mint(self, audience: str, subject: str, life: timedelta, **said: str) -> Minted:
        now = datetime.now(UTC).replace(microsecond=0)
        token_id = secrets.token_urlsafe(16)
        standard = {
            "iss": ISSUER,
            "aud": audience,
            "sub": subject,
            "iat": now,
            "exp": now + life,
            "jti": token_id,
        }
        token = jwt.encode({**said, **standard}, self._key, algorithm=ALGORITHM, headers={"typ": audience})
        return Minted(token=token, token_id=token_id, expires=now + life)


class TokenReader:
    """Checks tokens; needs the public key only.

    All methods raise TokenExpired for a token that was good once and TokenForged for anything else that
    is not a good token of that use.
    """

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the public key from a PEM file (SubjectPublicKeyInfo).

        Raises:
            InvalidInput: the file holds no Ed25519 public key.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"{path} holds no public key", field="jwt_public_key_file") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInput(f"{path} is not an Ed25519 key", field="jwt_public_key_file")
        return cls(key)

    def user(self, token: str) -> UserClaims:
        """Who is signed in."""
        return self._read(token, USER_AUDIENCE, UserClaims)

    def vote(self, token: str) -> Claims:
        """What a vote token says."""
        return self._read(token, VOTE_AUDIENCE, Claims)

    def command(self, token: str) -> CommandClaims:
        """What a command token says."""
        return self._read(token, COMMAND_AUDIENCE, CommandClaims)

    def node(self, token: str) -> NodeClaims:
        """Which node the token is for."""
        return self._read(token, NODE_AUDIENCE, NodeClaims)

    def _read(self, token: str, audience: str, model: type[Said]) -> Said:
        try:
            payload: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                leeway=CLOCK_SKEW,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired") from error
        except jwt.InvalidTokenError as error:
            raise TokenForged("the token is not one of ours for this use") from error
        named = {"subject": payload["sub"], "token_id": payload["jti"], "expires": payload["exp"]}
        try:
            return model.model_validate({**payload, **named})
        except ValidationError as error:
            raise TokenForged("the token does not say what it must") from error
