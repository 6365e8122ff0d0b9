"""What an environment requires of a release before it may come."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from domain.deployment import Phase
from store import deployments
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import deploy, enter

_names = (f"required-site-{number}" for number in itertools.count(1))
TO_COMPLETED = (Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
TO_ROLLED_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK_VERIFIED)


@pytest_asyncio.fixture
async def release(world: World) -> Release:
    made = world.releases.files("3.1.0", module=next(_names))
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
    assert f"{release.ref.module}@3.1.0 has completed in staging first" in refused.json()["detail"]
    assert await world.rows() == before

    await ran(world, release, "required-1", Phase.PLANNING, Phase.ACTIVATING, *TO_ROLLED_BACK)
    assert (await deploy(world, release)).status_code == 409
    await ran(world, release, "required-2", *TO_COMPLETED)
    assert (await deploy(world, release)).status_code == 202
    await ran(world, release, "required-3", *TO_ROLLED_BACK, rolls_back="required-2")
    assert (await deploy(world, release)).status_code == 409


async def test_a_policy_that_judges_nothing_is_refused(world: World) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/staging")).json()["policy"]
        for_nothing = {**policy, "analysis": {**policy["analysis"], "metrics": []}}
        answer = await admin.put("/clusters/staging/policy", json=for_nothing)
    assert (answer.status_code, answer.json()["field"]) == (422, "analysis.metrics")


async def test_a_policy_requires_an_environment_that_comes_before(world: World) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/staging")).json()["policy"]
        for wrong in ("staging", "production", "elsewhere"):
            answer = await admin.put("/clusters/staging/policy", json={**policy, "requires": wrong})
            assert (answer.status_code, answer.json()["field"]) == (422, "requires")
        assert (await admin.get("/clusters/staging")).json()["policy"] == policy


async def test_a_retry_brings_nothing_that_a_request_could_not(
    world: World, release: Release, staging_first: None
) -> None:
    """A hotfix need not have completed elsewhere, and passes a gate for that; so does its retry."""
    urgent = await deploy(world, release, hotfix=True, reason="it burns")
    assert urgent.status_code == 202, urgent.text
    await enter(world, urgent.json()["id"], Phase.PLANNING, Phase.ABORTED)
    async with world.asks("dora") as dora:
        again = await dora.post(f"/deployments/{urgent.json()['id']}/retry", json={"reason": "once more"})
    assert again.status_code == 202, again.text
    assert again.json()["hotfix"] == "it burns"

    await ran(world, release, "required-4", *TO_COMPLETED)
    proved = (await deploy(world, release)).json()["id"]
    await enter(world, proved, Phase.PLANNING, Phase.ABORTED)
    await ran(world, release, "required-5", *TO_ROLLED_BACK, rolls_back="required-4")
    async with world.asks("dora") as dora:
        refused = await dora.post(f"/deployments/{proved}/retry", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "requirement-unmet")


async def test_a_request_sent_again_is_answered_as_before_whatever_has_changed(
    world: World, release: Release, staging_first: None
) -> None:
    early = await deploy(world, release, key=release.ref.module)
    assert early.status_code == 409
    await ran(world, release, f"{release.ref.module}-in", *TO_COMPLETED)
    accepted = await deploy(
        world, release, key=release.ref.module
    )  # what was refused has not used the key up
    assert accepted.status_code == 202
    await ran(
        world, release, f"{release.ref.module}-out", *TO_ROLLED_BACK, rolls_back=f"{release.ref.module}-in"
    )
    again = await deploy(world, release, key=release.ref.module)
    assert (again.status_code, again.json()["id"]) == (202, accepted.json()["id"])


async def test_a_hotfix_is_not_tried_again_where_none_is_allowed_any_more(
    world: World, release: Release, staging_first: None
) -> None:
    urgent = (await deploy(world, release, hotfix=True, reason="it burns")).json()["id"]
    await enter(world, urgent, Phase.PLANNING, Phase.ABORTED)
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/production")).json()["policy"]
        await admin.put("/clusters/production/policy", json={**policy, "hotfix": {"allowed": False}})
        refused = await admin.post(f"/deployments/{urgent}/retry", json={})
        await admin.put("/clusters/production/policy", json=policy)
    assert (refused.status_code, refused.json()["field"]) == (422, "hotfix")


async def test_an_undo_does_not_bring_back_what_was_taken_back(world: World, release: Release) -> None:
    """It asks nobody, so it may only bring what has proved itself."""
    name = release.ref.module
    await ran(world, release, f"{name}-bad", *TO_COMPLETED)
    await ran(world, release, f"{name}-back", *TO_ROLLED_BACK, rolls_back=f"{name}-bad")
    order = {"module": name, "environment": "staging", "to": release.ref.version, "reason": "try"}
    async with world.asks("dora") as dora:
        refused = await dora.post("/undo", json=order)
        assert (refused.status_code, refused.json()["field"]) == (422, "to")
        await ran(world, release, f"{name}-good", *TO_COMPLETED)
        assert (await dora.post("/undo", json=order)).json().get("field") != "to"
