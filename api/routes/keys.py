"""API keys: bearer tokens for machines that act for their owner, within scopes, for a time."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api.access import KeyOwner
from api.audit import of_person
from api.services import Hands
from domain.base import Strict
from domain.errors import Conflict, Forbidden, InvalidInput
from domain.identity import LONGEST_KEY_LIFE
from domain.permissions import NEVER_BY_KEY, Permission
from store import api_keys, audit, users
from store.api_keys import StoredKey

router = APIRouter(prefix="/auth/keys", tags=["people"])

_DAYS: Final = LONGEST_KEY_LIFE // timedelta(days=1)


class NewKey(Strict):
    """A key to make: what it may be used for, and for how long."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    scopes: Annotated[tuple[Permission, ...], Field(min_length=1, max_length=len(Permission))]
    days: Annotated[int, Field(ge=1, le=_DAYS)] = 90


class KeyView(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    scopes: list[Permission]
    created_at: datetime
    expires_at: datetime


class KeyMade(KeyView):
    """The new key. `key` is shown this once: it is not kept."""

    key: str


class Keys(BaseModel):
    """One's own keys."""

    items: list[KeyView]


@router.post("", status_code=HTTPStatus.CREATED)
async def make_key(body: NewKey, caller: KeyOwner, hands: Hands, response: Response) -> KeyMade:
    """Make a key that acts for oneself. It may do at most what its owner may at that moment."""
    for scope in body.scopes:
        if scope in NEVER_BY_KEY:
            raise InvalidInput(f"a key cannot have the scope {scope}", field="scopes")
        if not caller.may(scope):
            raise Forbidden(f"the role {caller.role} lacks the permission {scope} itself", field="scopes")
    async with hands.database.transaction(caller.tenant) as session:
        if await users.find(session, caller.tenant, caller.username) is None:
            raise Conflict("keys are for people who sign in here, not with the external issuer")
        stored, text = await api_keys.make(
            session,
            caller.tenant,
            caller.username,
            name=body.name,
            scopes=tuple(dict.fromkeys(body.scopes)),
            expires_at=datetime.now(UTC) + timedelta(days=body.days),
        )
        after = {"id": stored.id, "name": stored.name, "scopes": list(stored.scopes)}
        audit.note(session, of_person(caller, "key.made", caller.username, after=after))
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(**_view(stored).model_dump(), key=text.text)


@router.get("")
async def list_keys(caller: KeyOwner, hands: Hands) -> Keys:
    """One's own keys, by name."""
    async with hands.database.transaction(caller.tenant) as session:
        found = await api_keys.of_person(session, caller.tenant, caller.username)
    return Keys(items=[_view(key) for key in found])


@router.delete("/{key}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key(key: str, caller: KeyOwner, hands: Hands, request: Request) -> None:
    """End a key of one's own."""
    async with hands.database.transaction(caller.tenant) as session:
        await api_keys.revoke(session, caller.tenant, caller.username, key)
        audit.note(session, of_person(caller, "key.revoked", caller.username, after={"id": key}))
    request.app.state.standings.forget()


def _view(key: StoredKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
