"""Amending through the API: looked at first, ordered with a token, refused where it cannot be."""

from typing import Any

import httpx
import pytest
import pytest_asyncio

from domain.amendment import Amendment, AmendmentState, Changes, amended
from domain.deployment import Phase
from domain.names import deployment_workflow_id
from domain.plan import Plan
from store import amendments
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import deploy, enter, get, plan, release, start_workflow

__all__ = ["release"]


@pytest_asyncio.fixture
async def under_way(world: World, release: Release) -> str:
    """A deployment that stages its first wave; its workflow is there, with nobody to run it."""
    deployment = (await deploy(world, release)).json()["id"]
    await start_workflow(world, deployment)
    await plan(world, deployment)
    await enter(world, deployment, Phase.PLANNING, Phase.STAGING)
    return str(deployment)


async def ask(world: World, deployment: str, what: str, person: str = "dora", **body: Any) -> httpx.Response:
    async with world.asks(person) as client:
        return await client.post(f"/deployments/{deployment}/{what}", json=body)


async def test_a_preview_tells_the_difference_and_orders_nothing(world: World, under_way: str) -> None:
    before = await get(world, under_way)
    narrower = (await ask(world, under_way, "amend/plan", bake=90)).json()
    wider = (await ask(world, under_way, "amend/plan", bake=1)).json()
    assert narrower["before"] == wider["before"] == before["plan_digest"]
    assert (narrower["widens"], narrower["approval"]) == ([], None)
    assert [line.split()[-1] for line in narrower["difference"]["steps_new"]] == ["seconds=90.0"]
    assert wider["widens"]
    assert wider["approval"]["name"] == "amendment"
    assert await world.signals(deployment_workflow_id(under_way)) == []
    assert (await get(world, under_way))["plan_digest"] == before["plan_digest"]


async def test_an_amendment_is_signalled_with_a_token_for_it(world: World, under_way: str) -> None:
    answer = await ask(world, under_way, "amend", bake=90, reason="slower")
    assert answer.status_code == 202, answer.text
    [(name, body)] = await world.signals(deployment_workflow_id(under_way))
    claims = world.services.reader.command(body["token"])
    assert (name, claims.command, claims.deployment) == ("amend", "amend", under_way)
    assert (body["actor"], body["reason"], body["changes"]["bake"]) == ("dora", "slower", 90)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (422, "invalid-input", "body")),
        ({"magic": 1}, (422, "invalid-input", "magic")),
        ({"bake": -1}, (422, "invalid-input", "bake")),
        ({"bake": 60}, (409, "not-amendable", None)),
        ({"deadline": 10}, (422, "plan-impossible", "deadline")),
        ({"gates": [{"name": "late", "before_wave": 9}]}, (422, "plan-impossible", "gates.0.before_wave")),
        ({"gates": [{"name": "many", "required": 9}]}, (422, "plan-impossible", "gates.many.required")),
    ],
)
async def test_what_cannot_be_is_refused(
    world: World, under_way: str, body: dict[str, Any], refusal: tuple[int, str, str | None]
) -> None:
    for what in ("amend/plan", "amend"):
        answer = await ask(world, under_way, what, **body)
        said = answer.json()
        assert (answer.status_code, said["code"], said["field"]) == refusal, answer.text
    assert await world.signals(deployment_workflow_id(under_way)) == []


async def test_it_is_refused_before_there_is_a_plan_and_after_the_rollout(
    world: World, release: Release
) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    assert (await ask(world, deployment, "amend", "vera", bake=90)).status_code == 403
    assert (await ask(world, "nothing", "amend", bake=90)).status_code == 404
    codes = [(await ask(world, deployment, "amend", bake=90)).json()["code"]]
    await plan(world, deployment)
    await enter(world, deployment, Phase.PLANNING, Phase.ROLLING_BACK)
    codes.append((await ask(world, deployment, "amend", bake=90)).json()["code"])
    await enter(world, deployment, Phase.ROLLED_BACK_VERIFIED)
    codes.append((await ask(world, deployment, "amend", bake=90)).json()["code"])
    assert codes == ["not-amendable"] * 3


async def test_what_became_of_it_is_shown_with_the_difference(world: World, under_way: str) -> None:
    before = Plan.model_validate((await get(world, under_way))["plan"])
    changes = Changes(bake=90)
    entry = Amendment(
        number=1,
        changes=changes,
        actor="dora",
        reason="slower",
        plan=amended(before, 0, changes),
        state=AmendmentState.APPLIED,
        message="it narrows the plan",
    )
    async with world.services.database.transaction(TENANT) as session:
        await amendments.save(session, TENANT, under_way, entry)
    async with world.asks("vera") as vera:
        [item] = (await vera.get(f"/deployments/{under_way}/amendments")).json()["items"]
    async with world.asks("admin") as admin:
        query = {"action": "deployment.amended", "subject_id": under_way}
        [entry_kept] = (await admin.get("/audit", params=query)).json()["items"]
    assert (item["number"], item["state"], item["actor"]) == (1, "applied", "dora")
    assert (item["before"], item["digest"]) == (before.digest, entry.plan.digest)
    assert item["difference"]["steps_new"]
    assert (await get(world, under_way))["plan_digest"] == entry.plan.digest
    assert (entry_kept["actor"], entry_kept["after"]["plan"]) == ("dora", entry.plan.digest)
