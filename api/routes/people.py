"""The people of a tenant: added, changed, locked out of what they should not do any more."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import Caller, PeopleAdmin
from api.audit import of_person
from api.paging import PageOf, PageQuery, cursor_of, name_after
from api.passwords import NewPassword
from api.services import Hands
from domain.base import Strict
from domain.errors import Conflict, Forbidden
from domain.names import Username
from domain.permissions import Permission, may
from domain.roles import Role
from domain.tenancy import check_username
from store import audit, sessions, sign_in, tenants, users
from store.records import StoredUser

router = APIRouter(prefix="/users", tags=["people"])


class NewUser(Strict):
    """A person to add. With `must_change` the password is good for choosing another one only."""

    username: Username
    password: NewPassword
    role: Role
    must_change: bool = True


class UserChange(Strict):
    """What is to be another way; what is left out stays."""

    role: Role | None = None
    disabled: bool | None = None


class NewSecret(Strict):
    """A password to start again with."""

    password: NewPassword


class UserView(BaseModel):
    """A person, as others see him."""

    username: str
    role: Role
    created_at: datetime
    must_change: bool
    disabled: bool
    locked: bool


@router.post("", status_code=HTTPStatus.CREATED)
async def add_user(body: NewUser, caller: PeopleAdmin, hands: Hands) -> UserView:
    """Add a person to the tenant."""
    check_username(body.username, hands.settings.platform_tenant)
    await hands.passwords.require_strong(body.password, about=[body.username, caller.tenant])
    password_hash = await hands.passwords.hash(body.password)
    async with hands.database.transaction(caller.tenant) as session:
        stored = await users.insert(
            session,
            caller.tenant,
            username=body.username,
            password_hash=password_hash,
            role=body.role,
            must_change=body.must_change,
        )
        audit.note(session, of_person(caller, "user.added", body.username, after={"role": body.role}))
    return _view(stored)


@router.get("")
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


@router.patch("/{username}")
async def change_user(
    username: str, body: UserChange, caller: PeopleAdmin, hands: Hands, request: Request
) -> UserView:
    """Change a person's role, or disable him: his tokens and keys then count no more, within seconds."""
    if username == caller.username:
        raise Conflict("nobody changes his own rights: ask another administrator")
    async with hands.database.transaction(caller.tenant) as session:
        await _still_may(session, caller)
        known = await users.find(session, caller.tenant, username)
        stored = await sign_in.set_standing(
            session, caller.tenant, username, role=body.role, disabled=body.disabled
        )
        if body.disabled:
            await sessions.revoke(session, caller.tenant, username)
        before, after = (_rights(each) if each else None for each in (known, stored))
        audit.note(session, of_person(caller, "user.changed", username, before=before, after=after))
    request.app.state.standings.forget()
    return _view(stored)


@router.post("/{username}/unlock")
async def unlock(username: str, caller: PeopleAdmin, hands: Hands) -> UserView:
    """End a lock-out before its time."""
    async with hands.database.transaction(caller.tenant) as session:
        unlocked = await sign_in.unlock(session, caller.tenant, username)
        audit.note(session, of_person(caller, "user.unlocked", username))
        return _view(unlocked)


@router.post("/{username}/password", status_code=HTTPStatus.NO_CONTENT)
async def reset_password(
    username: str, body: NewSecret, caller: PeopleAdmin, hands: Hands, request: Request
) -> None:
    """Give a person a password to start again with; he must change it, and his sign-ins end."""
    await hands.passwords.require_strong(body.password, about=[username, caller.tenant])
    password_hash = await hands.passwords.hash(body.password)
    async with hands.database.transaction(caller.tenant) as session:
        await sign_in.set_password(session, caller.tenant, username, password_hash, must_change=True)
        audit.note(session, of_person(caller, "password.reset", username))
        await sessions.revoke(session, caller.tenant, username)
    request.app.state.standings.forget()


@router.post("/{username}/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(username: str, caller: PeopleAdmin, hands: Hands, request: Request) -> None:
    """End every sign-in of a person; his API keys stay."""
    async with hands.database.transaction(caller.tenant) as session:
        await sign_in.unlock(session, caller.tenant, username)
        audit.note(session, of_person(caller, "user.signed-out", username))
        await sessions.revoke(session, caller.tenant, username)
    request.app.state.standings.forget()


async def _still_may(session: AsyncSession, caller: Caller) -> None:
    """Let one change of rights follow the other: of two who take them from each other, the first counts.

    So a tenant is never left without anybody who may give them back.

    Raises:
        Forbidden: the caller's own rights have just been taken.
    """
    await tenants.locked(session, caller.tenant)
    himself = await users.find(session, caller.tenant, caller.username)
    if himself is not None and (himself.disabled or not may(himself.role, Permission.MANAGE_PEOPLE)):
        raise Forbidden("your own rights have just been changed")


def _rights(user: StoredUser) -> dict[str, object]:
    return {"role": user.role, "disabled": user.disabled}


def _view(user: StoredUser) -> UserView:
    locked = user.locked_until is not None and user.locked_until > datetime.now(UTC)
    return UserView(
        username=user.username,
        role=user.role,
        created_at=user.created_at,
        must_change=user.must_change,
        disabled=user.disabled,
        locked=locked,
    )
