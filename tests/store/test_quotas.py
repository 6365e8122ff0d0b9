"""Quotas at the limit: of many at once, exactly as many as fit."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from domain.deployment import Cause, CauseKind
from domain.errors import IllegalTransition
from domain.manifest import Files, Manifest
from domain.node import Node
from domain.release import Kind, ReleaseRef
from domain.tenancy import Quota, QuotaExceeded, TenantState, Tier
from store import counts, deployments, lanes, nodes, quotas, releases, tenants
from store.database import Database
from tests.store.conftest import NODES, TENANT, queue

AT_ONCE = 100
Attempt = Callable[[Database, int], Coroutine[Any, Any, None]]


async def limit(database: Database, **quota: int) -> None:
    async with database.transaction(TENANT) as session:
        await tenants.set_tier(session, TENANT, Tier.CUSTOM, Quota(**quota), actor="root")


async def deploy(database: Database, number: int) -> None:
    await queue(database, f"race-{number}", environment=("qa", "staging", "production")[number % 3])


async def register(database: Database, number: int) -> None:
    node = Node(name=f"race-{number}", environment="qa", address=f"https://127.0.0.1:{8000 + number}")
    async with database.transaction(TENANT) as session:
        await nodes.register(session, TENANT, node)


async def push(database: Database, number: int) -> None:
    version = f"9.0.{number}"
    async with database.transaction(TENANT) as session:
        await releases.insert(
            session,
            TENANT,
            ref=ReleaseRef(module="race", version=version, digest=f"{number:064x}", tree="0" * 64),
            kind=Kind.FILES,
            manifest=Manifest(name="race", version=version, kind=Kind.FILES, files=Files()),
            signature=b"signature",
            signer="CN=release",
            size=10,
            pushed_by="admin",
        )


async def admitted(attempts: list[Awaitable[None]]) -> int:
    ends = await asyncio.gather(*attempts, return_exceptions=True)
    others = [end for end in ends if end is not None and not isinstance(end, QuotaExceeded)]
    assert others == []
    return sum(end is None for end in ends)


@pytest.mark.finding("X13", "N6")
@pytest.mark.parametrize(
    ("attempt", "quota", "fit"),
    [
        (deploy, {"deployments": 3}, 3),
        (register, {"nodes": len(NODES) + 4}, 4),
        (push, {"storage_bytes": 2 * 1000 + 55}, 5),
    ],
)
@pytest.mark.finding("X13")
async def test_of_a_hundred_at_once_as_many_as_fit(
    database: Database, attempt: Attempt, quota: dict[str, int], fit: int
) -> None:
    await limit(database, **quota)
    assert await admitted([attempt(database, number) for number in range(AT_ONCE)]) == fit


@pytest.mark.finding("X13")
async def test_what_ends_makes_room_and_what_fails_takes_none(database: Database) -> None:
    await limit(database, deployments=1)

    async def crash() -> None:
        async with database.transaction(TENANT) as session:
            await quotas.admit_deployment(session, TENANT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await crash()
    await queue(database, "d1")
    with pytest.raises(QuotaExceeded):
        await queue(database, "d2")
    async with database.transaction(TENANT) as session:
        cause = Cause(kind=CauseKind.ABORTED, message="enough", actor="ana")
        assert await deployments.withdraw(session, TENANT, "d1", cause)
    await queue(database, "d2")
    async with database.transaction(TENANT) as session:
        assert (await quotas.usage(session, TENANT)).deployments == 1


async def test_a_way_back_is_never_refused(database: Database) -> None:
    await queue(database, "d1")
    await limit(database, deployments=1)
    await queue(database, "back", rolls_back="d1")


async def test_the_same_again_needs_no_room(database: Database) -> None:
    await push(database, 1)
    await register(database, 1)
    await limit(database, storage_bytes=0, nodes=0)
    await push(database, 1)
    await register(database, 1)


async def test_a_suspended_tenants_lane_starts_nothing_and_forgets_nothing(database: Database) -> None:
    await queue(database, "d1")
    async with database.transaction(TENANT) as session:
        await tenants.move_to(session, TENANT, TenantState.SUSPENDED, actor="root", reason="unpaid")
        held = await lanes.load(session, TENANT, "production")
        await tenants.move_to(session, TENANT, TenantState.ACTIVE, actor="root")
        again = await lanes.load(session, TENANT, "production")
        with pytest.raises(IllegalTransition):
            await tenants.move_to(session, TENANT, TenantState.PROVISIONING, actor="root")
    assert held.frozen == "the tenant is suspended"
    assert [entry.deployment for entry in held.queued] == ["d1"]
    assert again.frozen is None


@pytest.mark.races_long
@pytest.mark.finding("N6")
@pytest.mark.timeout(900)
async def test_two_hundred_races_at_the_limit(database: Database) -> None:
    """Two deployments race for the last place: one wins, every time."""
    await limit(database, deployments=1)
    cause = Cause(kind=CauseKind.ABORTED, message="next race", actor="ana")
    for race in range(200):
        assert await admitted([deploy(database, 2 * race), deploy(database, 2 * race + 1)]) == 1
        async with database.transaction(TENANT) as session:
            [winner] = await deployments.waiting(session, TENANT)
            assert await deployments.withdraw(session, TENANT, winner, cause)
    print("\n200 races for the last place of a quota: one winner each")


async def test_who_has_nearly_used_his_quota_is_counted(database: Database) -> None:
    async def near() -> dict[str, int]:
        async with database.system() as session:
            return (await counts.count(session, silent_after=30)).near_quota

    assert await near() == {"nodes": 0, "storage": 0}
    await register(database, 1)
    await push(database, 1)
    async with database.transaction(TENANT) as session:
        used = await quotas.usage(session, TENANT)
    for quota, expected in (
        ({"nodes": used.nodes, "storage_bytes": 2 * used.storage_bytes}, {"nodes": 1, "storage": 0}),
        ({"nodes": 2 * used.nodes, "storage_bytes": used.storage_bytes}, {"nodes": 0, "storage": 1}),
        ({"nodes": 0}, {"nodes": 0, "storage": 0}),
    ):
        await limit(database, **quota)
        assert await near() == expected
