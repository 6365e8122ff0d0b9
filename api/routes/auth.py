"""Signing in, going on, changing the password, signing out."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import OPEN, Self
from api.audit import of_person, of_sign_in
from api.limits import KNOCKING, Limited
from api.passwords import GivenPassword, NewPassword
from api.services import Hands, Services
from api.tenancy import confirm
from domain.audit import AuditOutcome
from domain.base import Strict
from domain.errors import Conflict, InvalidInput, Unauthenticated
from domain.identity import TokenReused, TokenRevoked
from domain.names import TenantId, Username
from domain.permissions import Permission
from domain.roles import Role
from store import audit, sessions, sign_in, tenants, users
from store.records import StoredUser
from store.sessions import RefreshToken

router = APIRouter(prefix="/auth", tags=["people"])

_WRONG = "the name or the password is wrong, or the name is locked for a while"


class SignIn(Strict):
    """Who wants to sign in."""

    username: Username
    password: GivenPassword
    tenant: TenantId = "default"


class SignedIn(BaseModel):
    """A bearer token (RFC 6750), good until `expires_at`, and one to get the next with, good once.

    With `must_change` nothing but changing the password is allowed.
    """

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_at: datetime
    refresh_token: str
    must_change: bool


class Refresh(Strict):
    """The refresh token of the last answer."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class PasswordChange(Strict):
    """The present password and the next one."""

    current: GivenPassword
    new: NewPassword


class Me(BaseModel):
    """Who the token says is asking, and what he may do."""

    tenant: str
    username: str
    role: Role
    permissions: list[Permission]
    must_change: bool


@router.post("/token", dependencies=[OPEN, KNOCKING])
async def get_token(
    body: SignIn, hands: Hands, limits: Limited, response: Response, request: Request
) -> SignedIn:
    """Trade a name and a password for tokens. Five wrong passwords in a row lock a name for 15 minutes."""
    confirm(hands, body.tenant, request)
    await limits.signs_in(body.tenant, body.username)
    try:
        user = await _checked(hands, body.tenant, body.username, body.password)
    except Unauthenticated:
        await _record_failure(hands, body)
        raise
    async with hands.database.transaction(body.tenant) as session:
        await tenants.require_open(session, body.tenant)
        await _still(session, body.tenant, user)
        opened = await sessions.open_session(session, body.tenant, user.username)
        audit.note(session, of_sign_in(user.username, "sign-in.succeeded"))
    return _signed_in(hands, user, opened, response)


@router.post("/refresh", dependencies=[OPEN, KNOCKING])
async def refresh(body: Refresh, hands: Hands, request: Request, response: Response) -> SignedIn:
    """Trade a refresh token for the next pair. One that comes twice ends its session: there is a copy."""
    given = RefreshToken.parse(body.refresh_token)
    try:
        async with hands.database.transaction(given.tenant) as session:
            username, following = await sessions.refresh(session, given)
            user = await users.find(session, given.tenant, username)
            if user is None or user.disabled:
                raise TokenRevoked("the refresh token does not count: sign in again")
    except TokenReused:
        async with hands.database.transaction(given.tenant) as session:
            owner = await sessions.end(session, given.tenant, given.session)
            if owner is not None:
                after = {"session": given.session}
                audit.note(session, of_sign_in(owner, "sign-in.copied", AuditOutcome.REFUSED, after=after))
        request.app.state.standings.forget()
        raise
    return _signed_in(hands, user, following, response)


@router.post("/logout", status_code=HTTPStatus.NO_CONTENT)
async def logout(caller: Self, hands: Hands, request: Request) -> None:
    """End this sign-in: neither its bearer tokens nor its refresh token count any more."""
    if caller.session is None:
        raise Conflict("this token belongs to no sign-in of ours")
    async with hands.database.transaction(caller.tenant) as session:
        await sessions.end(session, caller.tenant, caller.session)
        audit.note(session, of_sign_in(caller.username, "sign-in.ended"))
    request.app.state.standings.forget()


@router.post("/password")
async def change_password(
    body: PasswordChange, caller: Self, hands: Hands, request: Request, response: Response
) -> SignedIn:
    """Change one's own password. Every sign-in of this person ends; the answer is a new one."""
    if body.new == body.current:
        raise InvalidInput("the new password is the present one", field="new")
    await hands.passwords.require_strong(body.new, about=[caller.username, caller.tenant], field="new")
    user = await _checked(hands, caller.tenant, caller.username, body.current)
    password_hash = await hands.passwords.hash(body.new)
    async with hands.database.transaction(caller.tenant) as session:
        await _still(session, caller.tenant, user)
        await sign_in.set_password(session, caller.tenant, caller.username, password_hash, must_change=False)
        await sessions.revoke(session, caller.tenant, caller.username)
        opened = await sessions.open_session(session, caller.tenant, caller.username)
        audit.note(session, of_person(caller, "password.changed", caller.username))
    request.app.state.standings.forget()
    return _signed_in(hands, user.model_copy(update={"must_change": False}), opened, response)


@router.get("/me")
async def me(caller: Self) -> Me:
    """Who the token says is asking."""
    return Me(
        tenant=caller.tenant,
        username=caller.username,
        role=caller.role,
        permissions=[permission for permission in Permission if caller.may(permission)],
        must_change=caller.must_change,
    )


async def _record_failure(hands: Services, body: SignIn) -> None:
    """Keep a wrong name or password, in the trail of a tenant that there is."""
    async with hands.database.transaction(body.tenant) as session:
        if await tenants.exists(session, body.tenant):
            audit.note(session, of_sign_in(body.username, "sign-in.failed", AuditOutcome.REFUSED))


async def _checked(hands: Services, tenant: str, username: str, password: str) -> StoredUser:
    """The person of this name and password.

    An unknown, a disabled and a locked name are answered like a wrong password, and take as long.

    Raises:
        Unauthenticated: otherwise.
    """
    async with hands.database.transaction(tenant) as session:
        guess = await sign_in.begin(session, tenant, username)
    kept = guess.user.password_hash if guess.user else None
    if not await hands.passwords.check(password, kept) or guess.user is None:
        raise Unauthenticated(_WRONG)
    return guess.user


async def _still(session: AsyncSession, tenant: str, user: StoredUser) -> None:
    """See that the password that was checked is still the person's: it may have been changed meanwhile.

    Raises:
        Unauthenticated: it is not, or the person was disabled.
    """
    if not await sign_in.succeeded(session, tenant, user.username, password_hash=user.password_hash):
        raise Unauthenticated(_WRONG)


def _signed_in(hands: Services, user: StoredUser, opened: RefreshToken, response: Response) -> SignedIn:
    minted = hands.minter.user(
        tenant=opened.tenant, username=user.username, role=user.role, session=opened.session
    )
    response.headers["Cache-Control"] = "no-store"
    return SignedIn(
        access_token=minted.token,
        expires_at=minted.expires,
        refresh_token=opened.text,
        must_change=user.must_change,
    )
