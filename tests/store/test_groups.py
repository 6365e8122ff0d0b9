"""Groups of people, and the people of a tenant with their groups."""

import pytest

from domain.errors import InvalidInput
from domain.roles import Role
from store import groups, users
from store.database import Database
from tests.store.conftest import TENANT


async def test_groups_are_replaced_as_a_whole_and_end_with_their_last_member(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        for name in ("bob", "cyd"):
            await users.insert(session, TENANT, username=name, password_hash="!", role=Role.APPROVER)
        await groups.set_members(session, TENANT, "sre", ["bob", "cyd"])
        await groups.set_members(session, TENANT, "security", ["cyd"])
        await groups.set_members(session, TENANT, "sre", ["bob"])
    async with database.transaction(TENANT) as session:
        assert await groups.members(session, TENANT) == {"security": ("cyd",), "sre": ("bob",)}
        assert await groups.of_person(session, TENANT, "cyd") == ("security",)
        everybody = {person.username: person.groups for person in await groups.people(session, TENANT)}
        assert everybody == {"admin": (), "bob": ("sre",), "cyd": ("security",)}
        await groups.set_members(session, TENANT, "sre", [])
        assert list(await groups.members(session, TENANT)) == ["security"]


async def test_a_group_takes_users_only(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        with pytest.raises(InvalidInput) as refused:
            await groups.set_members(session, TENANT, "sre", ["admin", "ghost"])
    assert refused.value.field == "members.1"
