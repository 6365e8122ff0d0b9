"""Promotions through the front door: what is refused, what is started, what is made good."""

from typing import Any

import pytest
import pytest_asyncio

from api.promotions import RELEASE_WORKFLOW, look_after
from domain.deployment import Phase
from domain.names import CONTROL_QUEUE, promotion_workflow_id
from domain.node import Node
from domain.promotion import OnFailure, PromotionStage
from domain.promotion_messages import PromotionInput, StageOrder, StageRollback
from store import nodes, promotion_queue, promotions
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import enter


@pytest_asyncio.fixture(scope="module")
async def everywhere(own_world: World) -> World:
    """A world with a node in every environment but qa, and no worker."""
    async with own_world.services.database.transaction(TENANT) as session:
        for number, name in enumerate(("development", "staging", "production"), start=1):
            node = Node(name=f"silent-{number}", environment=name, address=f"https://127.0.0.1:{number}")
            await nodes.register(session, TENANT, node)
    return own_world


@pytest_asyncio.fixture(scope="module")
async def release(everywhere: World) -> Release:
    made = everywhere.releases.files("4.0.0", module="promoted-site")
    assert (await everywhere.push(made)).status_code == 201
    return made


async def promote(world: World, release: Release, **more: Any) -> Any:
    body = {
        "module": release.ref.module,
        "version": release.ref.version,
        "environments": ["development", "staging", "production"],
    }
    async with world.asks("dora") as dora:
        headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
        return await dora.post("/promotions", json={**body, **more}, headers=headers)


async def test_a_promotion_is_started_shown_and_ordered_about(everywhere: World, release: Release) -> None:
    answer = await promote(everywhere, release, soak=60, on_failure="rollback", key="promote-once")
    assert answer.status_code == 202, answer.text
    shown = answer.json()
    assert answer.headers["Location"] == shown["links"]["self"]
    assert (shown["phase"], shown["exit_code"], shown["requester"]) == ("running", 4, "dora")
    assert [stage["environment"] for stage in shown["stages"]] == ["development", "staging", "production"]
    assert {(stage["state"], stage["soak"], stage["on_failure"]) for stage in shown["stages"]} == {
        ("pending", 60, "rollback")
    }
    repeat = await promote(everywhere, release, soak=60, on_failure="rollback", key="promote-once")
    assert repeat.json()["id"] == shown["id"]

    page = promotion_workflow_id(shown["id"])
    described = await everywhere.services.temporal.get_workflow_handle(page).describe()
    assert (described.workflow_type, described.task_queue) == (RELEASE_WORKFLOW, CONTROL_QUEUE)
    async with everywhere.asks("dora") as dora:
        for order in ("pause", "resume", "abort"):
            ordered = await dora.post(f"/promotions/{shown['id']}/{order}", json={"reason": "why not"})
            assert ordered.status_code == 202, ordered.text
        listed = (await dora.get("/promotions", params={"module": release.ref.module})).json()["items"]
    assert shown["id"] in [each["id"] for each in listed]
    sent = await everywhere.signals(page)
    assert [name for name, _body in sent] == ["pause", "resume", "abort"]
    claims = everywhere.services.reader.command(sent[1][1]["token"])
    assert (claims.subject, claims.deployment, claims.command) == ("dora", page, "resume")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"module": "nobodys-site"}, 422, "module"),
        ({"version": "9.9.9"}, 422, "version"),
        ({"environments": []}, 422, "environments"),
        ({"environments": ["moon"]}, 422, "environments"),
        ({"environments": ["staging", "development"]}, 422, "environments"),
        ({"environments": ["staging", "staging"]}, 422, "environments"),
        ({"environments": ["qa"]}, 422, "environments"),
        ({"environments": None}, 422, "environments"),
        ({"soak": -1}, 422, "soak"),
        ({"on_failure": "explode"}, 422, "on_failure"),
        ({"target": "production"}, 422, "target"),
    ],
)
async def test_a_bad_promotion(
    everywhere: World, release: Release, change: dict[str, Any], status: int, field: str
) -> None:
    before = await everywhere.rows()
    answer = await promote(everywhere, release, **change)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
    assert await everywhere.rows() == before


async def test_what_an_environment_requires_may_come_earlier_in_the_promotion(
    everywhere: World, release: Release
) -> None:
    async with everywhere.asks("admin") as admin:
        policy = (await admin.get("/clusters/production")).json()["policy"]
        changed = {**policy, "requires": "staging"}
        assert (await admin.put("/clusters/production/policy", json=changed)).status_code == 200
    try:
        refused = await promote(everywhere, release, environments=["development", "production"])
        accepted = await promote(everywhere, release, environments=["staging", "production"])
    finally:
        async with everywhere.asks("admin") as admin:
            assert (await admin.put("/clusters/production/policy", json=policy)).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (409, "requirement-unmet")
    assert accepted.status_code == 202


def asked_for(promotion: str, release: Release) -> PromotionInput:
    return PromotionInput(
        tenant=TENANT,
        promotion=promotion,
        requester="dora",
        module=release.ref.module,
        version=release.ref.version,
    )


async def test_what_was_missed_is_made_good(everywhere: World, release: Release) -> None:
    """A row whose workflow was never started, and one whose workflow somebody has terminated."""
    services = everywhere.services
    request = asked_for("forgotten", release)
    async with services.database.transaction(TENANT) as session:
        await promotions.insert(session, request, [PromotionStage(environment="staging")], "")
    await look_after(services.temporal, services.database)
    handle = services.temporal.get_workflow_handle(promotion_workflow_id("forgotten"))
    assert (await handle.describe()).workflow_type == RELEASE_WORKFLOW

    await handle.terminate("by a test")
    async with everywhere.asks("dora") as dora:
        gone = await dora.post("/promotions/forgotten/abort", json={})
    assert gone.status_code == 409
    assert "does not run any more" in gone.json()["detail"]
    await look_after(services.temporal, services.database)
    async with everywhere.asks("vera") as vera:
        shown = (await vera.get("/promotions/forgotten")).json()
        stream = await vera.get("/promotions/forgotten/events")
        over = await vera.get("/promotions/forgotten/events", headers={"Last-Event-ID": str(10**9)})
    assert (shown["phase"], shown["cause"]["kind"], shown["exit_code"]) == ("stopped", "terminated", 1)
    kinds = [line[7:] for line in stream.text.splitlines() if line.startswith("event: ")]
    assert kinds == ["promotion.started", "promotion.finished"]
    assert over.status_code == 204
    async with everywhere.asks("dora") as dora:
        late = await dora.post("/promotions/forgotten/abort", json={})
    assert late.status_code == 409


async def test_the_store_queues_once_and_leaves_alone_what_has_moved_on(
    everywhere: World, release: Release
) -> None:
    database = everywhere.services.database
    request = asked_for("stored", release)
    stages = [
        PromotionStage(environment=name, on_failure=OnFailure.ROLLBACK) for name in ("development", "staging")
    ]
    async with database.transaction(TENANT) as session:
        await promotions.insert(session, request, stages, "")
    queued = []
    for position in (1, 1, 2):
        async with database.transaction(TENANT) as session:
            order = StageOrder(promotion=request, position=position)
            queued.append(await promotion_queue.queue_stage(session, order))
    assert queued == ["stored-1", "stored-1", "stored-2"]
    for name in dict.fromkeys(queued):
        await enter(everywhere, name, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)

    async with everywhere.asks("dora") as dora:
        body = {"module": release.ref.module, "version": release.ref.version, "environment": "staging"}
        later = (await dora.post("/deployments", json=body)).json()["id"]
    back = []
    for position in (2, 1, 1):
        async with database.transaction(TENANT) as session:
            order = StageRollback(promotion=request, position=position, requester="dora", reason="no")
            back.append(await promotion_queue.queue_rollback(session, order))
    assert (back[0].deployment, later in back[0].reason) == (None, True)
    assert [each.deployment for each in back[1:]] == ["stored-1-back"] * 2
    async with database.transaction(TENANT) as session:
        stored = await promotions.get(session, TENANT, "stored")
        assert await promotions.waiting_on(session, TENANT, "stored-1-back") == "stored"
    assert "left alone" in stored.stages[1].note
    assert [stored.state(stage) for stage in stored.stages] == ["rolling-back", "completed"]


async def test_a_promotion_waits_where_requests_are_refused_and_gives_way_to_later_ones(
    everywhere: World, release: Release
) -> None:
    database = everywhere.services.database
    wanted = {"module": release.ref.module, "version": release.ref.version, "environment": "production"}
    request = asked_for("patient", release)
    stages = [PromotionStage(environment="production", on_failure=OnFailure.KEEP)]
    async with everywhere.asks("admin") as admin, everywhere.asks("dora") as dora:
        before = (await admin.get("/clusters/production")).json()["policy"]
        ahead = (await dora.post("/deployments", json=wanted)).json()["id"]
        try:
            await admin.put("/clusters/production/policy", json={**before, "arrival": "reject"})
            assert (await dora.post("/deployments", json=wanted)).json()["code"] == "lane-busy"
            async with database.transaction(TENANT) as session:
                await promotions.insert(session, request, stages, "")
                await promotion_queue.queue_stage(session, StageOrder(promotion=request, position=1))
            assert (await dora.get("/deployments/patient-1")).json()["phase"] == "queued"
            assert (await dora.get(f"/deployments/{ahead}")).json()["phase"] == "queued"
            await admin.put("/clusters/production/policy", json={**before, "arrival": "coalesce"})
            later = (await dora.post("/deployments", json=wanted)).json()
            assert later["phase"] == "queued"
            ended = (await dora.get("/deployments/patient-1")).json()
        finally:
            await admin.put("/clusters/production/policy", json=before)
        await dora.post(f"/deployments/{later['id']}/abort", json={})
    assert (ended["phase"], ended["cause"]["kind"]) == ("superseded", "superseded")
