"""Signing in, and the people who may."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.access import OPEN, Caller, PeopleAdmin, Self
from api.paging import PageOf, PageQuery, cursor_of, name_after
from api.passwords import GivenPassword, NewPassword
from api.services import Hands
from domain.base import Strict
from domain.errors import Unauthenticated
from domain.names import TenantId, Username
from domain.roles import Role
from store import users
from store.records import StoredUser

router = APIRouter(tags=["people"])


class SignIn(Strict):
    """Who wants to sign in."""

    username: Username
    password: GivenPassword
    tenant: TenantId = "default"


class SignedIn(BaseModel):
    """A bearer token (RFC 6750), good until `expires_at`."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_at: datetime


class NewUser(Strict):
    """A person to add."""

    username: Username
    password: NewPassword
    role: Role


class UserView(BaseModel):
    """A person, as others see him."""

    username: str
    role: Role
    created_at: datetime


@router.post("/auth/token", dependencies=[OPEN])
async def sign_in(body: SignIn, hands: Hands, response: Response) -> SignedIn:
    """Trade a name and a password for a token."""
    async with hands.database.transaction(body.tenant) as session:
        user = await users.find(session, body.tenant, body.username)
    if not await hands.passwords.check(body.password, user.password_hash if user else None) or user is None:
        raise Unauthenticated("the name or the password is wrong")
    minted = hands.minter.user(tenant=body.tenant, username=user.username, role=user.role)
    response.headers["Cache-Control"] = "no-store"
    return SignedIn(access_token=minted.token, expires_at=minted.expires)


@router.get("/auth/me")
async def me(caller: Self) -> Caller:
    """Who the token says is asking."""
    return caller


@router.post("/users", status_code=HTTPStatus.CREATED)
async def add_user(body: NewUser, caller: PeopleAdmin, hands: Hands) -> UserView:
    """Add a person to the tenant."""
    password_hash = await hands.passwords.hash(body.password)
    async with hands.database.transaction(caller.tenant) as session:
        stored = await users.insert(
            session, caller.tenant, username=body.username, password_hash=password_hash, role=body.role
        )
    return _view(stored)


@router.get("/users")
async def list_users(
    query: Annotated[PageQuery, Query()], caller: PeopleAdmin, hands: Hands
) -> PageOf[UserView]:
    """The people of the tenant, by name."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await users.list_page(
            session, caller.tenant, after=name_after(query.cursor), limit=query.limit
        )
    following = cursor_of(page.items[-1].username) if page.more else None
    return PageOf(items=[_view(user) for user in page.items], next_cursor=following)


def _view(user: StoredUser) -> UserView:
    return UserView(username=user.username, role=user.role, created_at=user.created_at)
