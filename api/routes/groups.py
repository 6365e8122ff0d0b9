"""Groups of people, which gates may ask for."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access import PeopleAdmin, Viewer
from api.audit import done
from api.services import Hands
from domain.audit import AuditCategory
from domain.base import Strict
from domain.names import GroupName, Username
from store import audit, groups

router = APIRouter(prefix="/groups", tags=["people"])


class Members(Strict):
    """Who is in the group from now on."""

    members: Annotated[tuple[Username, ...], Field(max_length=1000)]


class GroupView(BaseModel):
    """A group; it is there as long as it has members."""

    name: str
    members: tuple[str, ...]


class Groups(BaseModel):
    """All groups of the tenant."""

    items: list[GroupView]


@router.get("")
async def list_groups(caller: Viewer, hands: Hands) -> Groups:
    """The groups with their members, by name."""
    async with hands.database.transaction(caller.tenant) as session:
        found = await groups.members(session, caller.tenant)
    return Groups(items=[GroupView(name=name, members=members) for name, members in found.items()])


@router.put("/{group}")
async def set_group(group: GroupName, body: Members, caller: PeopleAdmin, hands: Hands) -> GroupView:
    """Say who is in a group. Gates that are open go by it from the next vote on."""
    members = tuple(dict.fromkeys(body.members))
    async with hands.database.transaction(caller.tenant) as session:
        before = await groups.set_members(session, caller.tenant, group, members)
        after = sorted(members)
        note = done(
            caller, "group.set", AuditCategory.PEOPLE, "group", group, before=list(before), after=after
        )
        audit.note(session, note)
    return GroupView(name=group, members=tuple(sorted(members)))
