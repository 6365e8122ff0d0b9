"""Groups of people, which gates may ask for."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.eligibility import Person
from domain.errors import InvalidInput
from store.tables import GroupMemberRow, UserRow


async def set_members(
    session: AsyncSession, tenant: str, group: str, members: Sequence[str]
) -> tuple[str, ...]:
    """Replace the members of a group; without any it is gone. Who was in it before.

    Raises:
        InvalidInput: somebody is not a user of this tenant; `field` names which.
    """
    known = await session.scalars(
        select(UserRow.username).where(UserRow.tenant == tenant, UserRow.username.in_(members))
    )
    there = list(known)
    for index, member in enumerate(members):
        if member not in there:
            raise InvalidInput(f"no user {member!r}", field=f"members.{index}")
    gone = await session.scalars(
        delete(GroupMemberRow)
        .where(GroupMemberRow.tenant == tenant, GroupMemberRow.name == group)
        .returning(GroupMemberRow.username)
    )
    before = tuple(sorted(gone))
    if members:
        rows = [{"tenant": tenant, "name": group, "username": member} for member in members]
        await session.execute(insert(GroupMemberRow).on_conflict_do_nothing(), rows)
    return before


async def members(session: AsyncSession, tenant: str) -> dict[str, tuple[str, ...]]:
    """Every group with its members, by name."""
    names = func.array_agg(aggregate_order_by(GroupMemberRow.username, GroupMemberRow.username))
    rows = await session.execute(
        select(GroupMemberRow.name, names)
        .where(GroupMemberRow.tenant == tenant)
        .group_by(GroupMemberRow.name)
        .order_by(GroupMemberRow.name)
    )
    return {name: tuple(found) for name, found in rows}


async def of_person(session: AsyncSession, tenant: str, username: str) -> tuple[str, ...]:
    """The groups that somebody is in."""
    rows = await session.scalars(
        select(GroupMemberRow.name)
        .where(GroupMemberRow.tenant == tenant, GroupMemberRow.username == username)
        .order_by(GroupMemberRow.name)
    )
    return tuple(rows)


async def people(session: AsyncSession, tenant: str) -> list[Person]:
    """Everybody of the tenant who may sign in, with role and groups: who could pass a gate."""
    rows = await session.execute(
        select(UserRow.username, UserRow.role, GroupMemberRow.name)
        .outerjoin(
            GroupMemberRow,
            (GroupMemberRow.tenant == UserRow.tenant) & (GroupMemberRow.username == UserRow.username),
        )
        .where(UserRow.tenant == tenant, UserRow.disabled.is_(False))
        .order_by(UserRow.username, GroupMemberRow.name)
    )
    found: dict[str, Person] = {}
    for username, role, group in rows:
        before = found.get(username, Person(username=username, role=role))
        groups = (*before.groups, group) if group else before.groups
        found[username] = before.model_copy(update={"groups": groups})
    return list(found.values())
