"""What an environment requires of a release before it may come."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from domain.deployment import Phase
from store import deployments
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import deploy, enter

TO_COMPLETED = (Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
TO_ROLLED_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)


@pytest_asyncio.fixture
async def release(world: World) -> Release:
    made = world.releases.files("3.1.0", module="required-site")
    assert (await world.push(made)).status_code == 201
    return made


@pytest_asyncio.fixture
async def staging_first(world: World) -> AsyncIterator[None]:
    """Production requires staging for as long as the test runs."""
    async with world.asks("admin") as admin:
        before = (await admin.get("/clusters/production")).json()["policy"]
        changed = {**before, "requires": "staging"}
        assert (await admin.put("/clusters/production/policy", json=changed)).status_code == 200
        yield
        assert (await admin.put("/clusters/production/policy", json=before)).status_code == 200


async def ran(world: World, release: Release, name: str, *phases: Phase, **facts: Any) -> None:
    """A deployment of the release in staging that went through these phases."""
    async with world.services.database.transaction(TENANT) as session:
        await deployments.insert(
            session,
            TENANT,
            deployment=name,
            environment="staging",
            module=release.ref.module,
            version=release.ref.version,
            requester="dora",
            **facts,
        )
    await enter(world, name, *phases)


async def test_production_waits_for_staging(world: World, release: Release, staging_first: None) -> None:
    before = await world.rows()
    refused = await deploy(world, release)
    assert (refused.status_code, refused.json()["code"]) == (409, "requirement-unmet")
    assert refused.json()["field"] == "environment"
    assert "required-site@3.1.0 has completed in staging first" in refused.json()["detail"]
    assert await world.rows() == before

    await ran(world, release, "required-1", Phase.PLANNING, Phase.ACTIVATING, *TO_ROLLED_BACK)
    assert (await deploy(world, release)).status_code == 409
    await ran(world, release, "required-2", *TO_COMPLETED)
    assert (await deploy(world, release)).status_code == 202
    await ran(world, release, "required-3", *TO_ROLLED_BACK, rolls_back="required-2")
    assert (await deploy(world, release)).status_code == 409


async def test_a_policy_requires_an_environment_that_comes_before(world: World) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/staging")).json()["policy"]
        for wrong in ("staging", "production", "elsewhere"):
            answer = await admin.put("/clusters/staging/policy", json={**policy, "requires": wrong})
            assert (answer.status_code, answer.json()["field"]) == (422, "requires")
        assert (await admin.get("/clusters/staging")).json()["policy"] == policy
