"""Deployments are queued, shown, ordered about and taken back."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.lanes import LANE_WORKFLOW, look_after
from domain.analysis import MetricVerdict, Outcome, Verdict
from domain.command import CommandName
from domain.deployment import Cause, CauseKind, NodeFailure, Phase
from domain.events import EventKind
from domain.messages import AnalysisInput, DeploymentInput, Look, Progress, QuarantineOrder
from domain.names import CONTROL_QUEUE, deployment_workflow_id, lane_id
from domain.planner import make_plan
from domain.policy import AnalysisRule
from domain.roles import Role
from domain.wire import ModuleReport, ModuleState
from store import analyses, deployments, environments, lanes, nodes, quarantine
from store.deployments import NodeOutcome, OutcomeKind
from store.records import StoredDeployment
from tests.agent.nodes import Release
from tests.api.conftest import PEOPLE, TENANT, World

TO_DEPLOYMENTS = (CommandName.PAUSE, CommandName.RESUME, CommandName.PROMOTE, CommandName.ABORT)

_names = (f"site-{number}" for number in itertools.count(1))


@pytest_asyncio.fixture
async def release(world: World) -> Release:
    """A module of the test's own."""
    made = world.releases.files("2.0.0", module=next(_names))
    assert (await world.push(made)).status_code == 201
    return made


async def deploy(world: World, release: Release, **more: Any) -> httpx.Response:
    body = {"module": release.ref.module, "version": release.ref.version, "environment": "production"}
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    async with world.asks("dora") as dora:
        return await dora.post("/deployments", json={**body, **more}, headers=headers)


async def get(world: World, deployment: str) -> dict[str, Any]:
    async with world.asks("vera") as vera:
        answer = await vera.get(f"/deployments/{deployment}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def order(world: World, deployment: str, name: str, **body: str) -> httpx.Response:
    async with world.asks("dora") as dora:
        return await dora.post(f"/deployments/{deployment}/{name}", json=body)


async def enter(world: World, deployment: str, *phases: Phase, **more: Any) -> None:
    for phase in phases:
        async with world.services.database.transaction(TENANT) as session:
            await deployments.record(
                session,
                Progress(
                    tenant=TENANT,
                    deployment=deployment,
                    key=f"test-{phase}",
                    event=EventKind.FINISHED if phase.terminal else EventKind.PHASE,
                    message=f"now {phase}",
                    phase=phase,
                    **more,
                ),
            )


async def plan(world: World, deployment: str) -> StoredDeployment:
    async with world.services.database.transaction(TENANT) as session:
        wanted = await deployments.request_of(session, TENANT, deployment)
        policy = await environments.policy(session, TENANT, wanted.environment)
        fleet = await nodes.of_environment(session, TENANT, wanted.environment)
        prior = wanted.release.model_copy(update={"version": "1.0.0"})
        made = make_plan(
            tenant=TENANT,
            environment=wanted.environment,
            release=wanted.release,
            nodes=fleet,
            running={node.name: "1.0.0" for node in fleet},
            strategy=policy.strategy,
            policy=policy,
        )
        names = dict.fromkeys(made.nodes, prior)
        await deployments.save_plan(session, TENANT, deployment, made, names)
        return await deployments.get(session, TENANT, deployment)


async def start_workflow(world: World, deployment: str) -> None:
    """The deployment's workflow, with nobody to run it: what is signalled stays in its history."""
    stored = await get(world, deployment)
    await world.services.temporal.start_workflow(
        "DeploymentWorkflow",
        DeploymentInput(
            tenant=TENANT,
            environment=stored["environment"],
            deployment=deployment,
            requester="dora",
            module=stored["module"],
            version=stored["version"],
        ),
        id=deployment_workflow_id(deployment),
        task_queue="nobody",
    )


async def test_a_deployment_is_accepted_queued_and_its_lane_woken(world: World, release: Release) -> None:
    answer = await deploy(world, release, description="for the fair", strategy="canary")
    shown = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == shown["links"]["self"] == f"/api/v1/deployments/{shown['id']}"
    assert shown["links"]["console"].endswith(f"/workflows/deployment-{shown['id']}")
    assert (shown["phase"], shown["requester"], shown["strategy"]) == ("queued", "dora", "canary")
    assert (shown["description"], shown["exit_code"]) == ("for the fair", 4)
    assert (shown["digest"], shown["signer"]) == (release.ref.digest, "CN=release team")
    signals = await world.signals(lane_id(TENANT, "production"))
    assert ("submit", {"deployment": shown["id"]}) in signals


async def test_the_strategy_is_the_policys_unless_one_is_asked_for(world: World, release: Release) -> None:
    own = {"kind": "canary", "shares": [50, 100]}
    assert (await deploy(world, release)).json()["strategy"] == "canary"
    assert (await deploy(world, release, strategy="direct")).json()["strategy"] == "direct"
    shown = (await deploy(world, release, strategy=own)).json()
    assert shown["strategy_asked"]["shares"] == [50, 100]


async def test_an_idempotency_key_makes_one_deployment(world: World, release: Release) -> None:
    answers = await asyncio.gather(*(deploy(world, release, key="once") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await deploy(world, release, key="once", description="another")
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency-key-reused"
    async with world.asks("vera") as vera:
        listed = (await vera.get("/deployments", params={"module": release.ref.module})).json()
    assert len(listed["items"]) == 1


async def test_lists_are_filtered_and_paged(world: World, release: Release) -> None:
    made = [(await deploy(world, release)).json()["id"] for _ in range(3)]
    query: dict[str, str] = {"module": release.ref.module, "environment": "production", "phase": "queued"}
    seen: list[str] = []
    async with world.asks("vera") as vera:
        page = (await vera.get("/deployments", params={**query, "limit": "2"})).json()
        seen += [item["id"] for item in page["items"]]
        page = (await vera.get("/deployments", params={**query, "cursor": page["next_cursor"]})).json()
        seen += [item["id"] for item in page["items"]]
        empty = (await vera.get("/deployments", params={**query, "phase": "failed"})).json()
    assert seen == made[::-1]
    assert page["next_cursor"] is None
    assert empty["items"] == []


async def test_the_strategy_of_a_plan_is_told_whatever_the_policy_says_since(
    world: World, release: Release
) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    before = (await plan(world, deployment)).plan
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/production")).json()["policy"]
        changed = {**policy, "strategy": {"kind": "direct"}}
        assert (await admin.put("/clusters/production/policy", json=changed)).status_code == 200
        listed = (await admin.get("/deployments", params={"limit": 1})).json()["items"][0]
        shown = await get(world, deployment)
        assert (await admin.put("/clusters/production/policy", json=policy)).status_code == 200
    assert before is not None
    assert (listed["id"], listed["strategy"]) == (deployment, before.strategy)
    assert shown["strategy"] == before.strategy != "direct"


async def test_one_under_way_is_shown_whole(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    stored = await plan(world, deployment)
    assert stored.plan is not None
    first = stored.plan.wave(1).nodes
    await enter(world, deployment, Phase.PLANNING)
    verdict = Verdict(
        outcome=Outcome.PASS,
        reason="fine",
        metrics=(MetricVerdict(metric="errors", outcome=Outcome.PASS, canary=0.1, unit="%", reason="fine"),),
    )
    request = AnalysisInput(
        tenant=TENANT,
        environment="production",
        deployment=deployment,
        analysis=f"analysis-{deployment}-1",
        wave=1,
        module=release.ref.module,
        canary=first,
        baseline=(),
        canary_version="2.0.0",
        rule=AnalysisRule(),
        subject="wave 1",
    )
    report = ModuleReport(module=release.ref.module, state=ModuleState.RUNNING, current=release.ref)
    async with world.services.database.transaction(TENANT) as session:
        await deployments.touch(session, TENANT, deployment, first, 1)
        outcomes = [NodeOutcome(node=name, outcome=OutcomeKind.VERIFIED, observed=report) for name in first]
        await deployments.record_outcomes(session, TENANT, deployment, outcomes)
        await analyses.save(session, Look(analysis=request, number=1, seconds=30), verdict)
    await enter(world, deployment, Phase.ANALYZING, step=3, wave=1, waiting_for="the judge")

    shown = await get(world, deployment)
    assert (shown["phase"], shown["step"], shown["wave"]) == ("analyzing", 3, 1)
    assert shown["waiting_for"] == "the judge"
    assert (shown["replaces"], shown["plan_digest"]) == ("1.0.0", stored.plan.digest)
    assert [wave["nodes"] for wave in shown["waves"]] == [list(wave.nodes) for wave in stored.plan.waves]
    assert [step["state"] for step in shown["steps"][:5]] == ["done", "done", "done", "current", "todo"]
    assert shown["verdict"]["metrics"][0]["canary"] == 0.1
    rows = {node["name"]: node for node in shown["nodes"]}
    changed, untouched = rows[first[0]], rows[stored.plan.wave(2).nodes[0]]
    assert (changed["state"], changed["version"], changed["prior"]) == ("verified", "2.0.0", "1.0.0")
    assert changed["verified_at"] is not None
    assert (untouched["state"], untouched["version"]) == ("pending", "1.0.0")
    assert shown["started_at"] is not None
    async with world.asks("vera") as vera:
        analysis = await vera.get(f"/analyses/{request.analysis}")
        report = await vera.get(f"/analyses/{request.analysis}/report")
    assert [look["verdict"]["outcome"] for look in analysis.json()["looks"]] == ["pass"]
    assert (report.status_code, report.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_orders_are_signals_with_a_token_that_proves_the_actor(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await start_workflow(world, deployment)
    await enter(world, deployment, Phase.PLANNING)
    for name in TO_DEPLOYMENTS:
        answer = await order(world, deployment, name, reason="because")
        assert answer.status_code == 202, answer.text
        assert answer.json()["id"] == deployment
    signals = await world.signals(deployment_workflow_id(deployment))
    assert [name for name, _ in signals] == list(TO_DEPLOYMENTS)
    for name, body in signals:
        claims = world.services.reader.command(body["token"])
        assert (body["actor"], body["reason"]) == ("dora", "because")
        assert (claims.subject, claims.role) == ("dora", Role.DEPLOYER)
        assert (claims.deployment, claims.command) == (deployment, name)


async def test_promote_at_a_gate_is_refused_and_says_for_whom_it_waits(
    world: World, release: Release
) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await start_workflow(world, deployment)
    await enter(world, deployment, Phase.PLANNING)
    await enter(world, deployment, Phase.WAITING_APPROVAL, waiting_for="1 × approver")
    answer = await order(world, deployment, "promote")
    assert answer.status_code == 409
    assert "waits for 1 × approver: promote passes no gate" in answer.json()["detail"]
    assert await world.signals(deployment_workflow_id(deployment)) == []


async def test_one_that_waits_can_only_be_aborted_and_is_then_over(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    for name in ("pause", "resume", "promote"):
        assert (await order(world, deployment, name)).status_code == 409
    answer = await order(world, deployment, "rollback", reason="changed my mind")
    assert (answer.status_code, answer.json()["phase"]) == (202, "aborted")
    shown = await get(world, deployment)
    assert shown["exit_code"] == 5
    assert shown["cause"] == {
        "kind": "aborted",
        "message": "abort by dora: changed my mind",
        "actor": "dora",
    }
    for name in TO_DEPLOYMENTS:
        assert (await order(world, deployment, name)).status_code == 409
    assert (await order(world, deployment, "rollback", reason="again")).status_code == 409


async def test_a_rollback_of_one_under_way_aborts_it(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await start_workflow(world, deployment)
    await enter(world, deployment, Phase.PLANNING, Phase.STAGING)
    assert (await order(world, deployment, "rollback", reason="bad")).status_code == 202
    assert [name for name, _ in await world.signals(deployment_workflow_id(deployment))] == ["abort"]
    await enter(world, deployment, Phase.ROLLING_BACK)
    assert (await order(world, deployment, "rollback", reason="bad")).status_code == 409


async def test_an_order_to_a_workflow_that_is_gone_is_a_conflict(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await enter(world, deployment, Phase.PLANNING)
    answer = await order(world, deployment, "pause")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.finding("X5")
async def test_a_completed_deployment_is_taken_back_by_a_record_of_its_own(
    world: World, release: Release
) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await enter(world, deployment, Phase.PLANNING, Phase.STAGING, Phase.COMPLETED)
    assert (await get(world, deployment))["exit_code"] == 0
    assert (await order(world, deployment, "rollback")).status_code == 422
    answers = await asyncio.gather(*(order(world, deployment, "rollback", reason="slow") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    record = next(answer.json() for answer in answers if answer.status_code == 202)
    assert record["id"] != deployment
    assert (record["rolls_back"], record["phase"], record["strategy"]) == (deployment, "queued", "rollback")
    assert ("submit", {"deployment": record["id"]}) in await world.signals(lane_id(TENANT, "production"))


async def test_only_the_latest_deployment_of_a_module_can_be_taken_back(
    world: World, release: Release
) -> None:
    first = (await deploy(world, release)).json()["id"]
    await enter(world, first, Phase.PLANNING, Phase.STAGING, Phase.COMPLETED)
    later = (await deploy(world, release)).json()["id"]
    answer = await order(world, first, "rollback", reason="slow")
    assert answer.status_code == 409
    assert later in answer.json()["detail"]


@pytest.mark.finding("12")
async def test_a_lane_that_froze_shows_on_what_froze_it_and_goes_on_when_resolved(
    world: World, release: Release
) -> None:
    done = (await deploy(world, release)).json()["id"]
    await enter(world, done, Phase.PLANNING, Phase.STAGING, Phase.COMPLETED)
    bad = (await deploy(world, release)).json()["id"]
    cause = Cause(kind=CauseKind.ANALYSIS, message="errors up")
    await enter(world, bad, Phase.PLANNING, Phase.STAGING, Phase.ROLLING_BACK, cause=cause)
    await enter(world, bad, Phase.ROLLED_BACK_UNVERIFIED, unverified=("silent-1",))
    async with world.services.database.transaction(TENANT) as session:
        await lanes.freeze(session, TENANT, bad, "silent-1 is not back")
    shown = await get(world, bad)
    assert (shown["frozen"], shown["exit_code"]) == ("silent-1 is not back", 3)
    assert shown["unverified"] == ["silent-1"]
    assert ((await get(world, done))["frozen"], (await get(world, done))["exit_code"]) == (None, 0)

    async with world.asks("admin") as admin:
        cluster = (await admin.get("/clusters/production")).json()
        assert (cluster["frozen"], cluster["frozen_by"]) == ("silent-1 is not back", bad)
        assert (await admin.post("/clusters/production/resolve", json={})).status_code == 422
        resolved = await admin.post("/clusters/production/resolve", json={"reason": "fixed by hand"})
        assert (resolved.status_code, resolved.json()["frozen"]) == (202, None)
        again = await admin.post("/clusters/production/resolve", json={"reason": "fixed by hand"})
        assert again.status_code == 409
        written = (await admin.get("/audit", params={"action": "lane.resolved"})).json()["items"]
        assert (written[0]["actor"], written[0]["reason"]) == ("admin", "fixed by hand")
    sent = await world.signals(lane_id(TENANT, "production"))
    assert ("resolve", {"actor": "admin", "reason": "fixed by hand"}) in sent


async def test_what_was_missed_is_made_good(world: World, release: Release) -> None:
    """A row whose signal was never sent, and a lane that somebody has terminated."""
    services = world.services
    assert PEOPLE["dora"]
    async with services.database.transaction(TENANT) as session:
        await deployments.insert(
            session,
            TENANT,
            deployment="forgotten",
            environment="production",
            module=release.ref.module,
            version=release.ref.version,
            requester="dora",
        )
    told = await look_after(services.temporal, services.database, frozenset())
    lane = lane_id(TENANT, "production")
    assert "forgotten" in told
    assert ("submit", {"deployment": "forgotten"}) in await world.signals(lane)
    sent = len(await world.signals(lane))
    await look_after(services.temporal, services.database, told)
    assert len(await world.signals(lane)) == sent

    handle = services.temporal.get_workflow_handle(lane)
    await handle.terminate("by a test")
    await look_after(services.temporal, services.database, told)
    described = await handle.describe()
    assert described.status is not None
    assert described.status.name == "RUNNING"
    assert (described.workflow_type, described.task_queue) == (LANE_WORKFLOW, CONTROL_QUEUE)


async def with_arrival(world: World, arrival: str) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/production")).json()["policy"]
        answer = await admin.put("/clusters/production/policy", json={**policy, "arrival": arrival})
        assert answer.status_code == 200, answer.text


async def test_a_busy_lane_that_rejects_says_what_is_in_the_way(world: World, release: Release) -> None:
    first = (await deploy(world, release)).json()["id"]
    await with_arrival(world, "reject")
    try:
        before = await world.rows()
        answer = await deploy(world, release)
        assert answer.status_code == 409
        assert answer.json()["code"] == "lane-busy"
        link = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="related"')
        assert link.rpartition("/")[2] in answer.json()["detail"]
        async with world.asks("vera") as vera:
            in_the_way = (await vera.get(link.removeprefix("/api/v1"))).json()
        assert in_the_way["environment"] == "production"
        assert await world.rows() == before
        assert (await get(world, first))["phase"] == "queued"
    finally:
        await with_arrival(world, "queue")


async def test_coalescing_keeps_only_the_newest_request_of_a_module(world: World, release: Release) -> None:
    await with_arrival(world, "coalesce")
    try:
        asked = [(await deploy(world, release)).json()["id"] for _ in range(3)]
    finally:
        await with_arrival(world, "queue")
    shown = [await get(world, each) for each in asked]
    assert [each["phase"] for each in shown] == ["superseded", "superseded", "queued"]
    assert asked[1] in shown[0]["cause"]["message"]
    assert shown[0]["exit_code"] == 5


TO_ROLLBACKS = {
    "retry": {"reason": "it answers again"},
    "skip-node": {"reason": "dead disk", "node": "web-1"},
    "abandon": {"reason": "rebuilt"},
}


async def test_orders_to_a_rollback_count_while_it_waits_for_a_person(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    for name, body in TO_ROLLBACKS.items():
        assert (await order(world, deployment, f"rollback/{name}", **body)).status_code == 409
    await enter(world, deployment, Phase.PLANNING)
    await enter(world, deployment, Phase.ROLLING_BACK, waiting_for="a person: retry, skip_node or abandon")
    missing = await order(world, deployment, "rollback/skip-node", reason="which one?")
    assert (missing.status_code, missing.json()["field"]) == (422, "node")
    gone = await order(world, deployment, "rollback/retry")
    assert (gone.status_code, gone.json()["code"]) == (409, "conflict")


async def test_a_retry_is_a_deployment_of_its_own_on_the_nodes_that_were_lost(
    world: World, release: Release
) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    early = await order(world, deployment, "retry")
    assert (early.status_code, early.json()["code"]) == (409, "conflict")
    made = (await plan(world, deployment)).plan
    assert made is not None
    lost = made.nodes[0]
    async with world.services.database.transaction(TENANT) as session:
        fault = NodeFailure(node=lost, code="disk-full", message="no room")
        outcomes = [NodeOutcome(node=lost, outcome=OutcomeKind.FAILED, fault=fault)]
        await deployments.record_outcomes(session, TENANT, deployment, outcomes)
        sick = QuarantineOrder(tenant=TENANT, deployment=deployment, key="q", nodes=(fault,))
        await quarantine.take(session, sick)
    await enter(world, deployment, Phase.PLANNING, Phase.STAGING, Phase.COMPLETED)
    async with world.asks("dora") as dora:
        answer = await dora.post(f"/deployments/{deployment}/retry", json={"failed_only": True})
    assert answer.status_code == 202, answer.text
    async with world.services.database.transaction(TENANT) as session:
        wanted = await deployments.request_of(session, TENANT, answer.json()["id"])
        node = await nodes.get(session, TENANT, lost)
    assert wanted.only_nodes == (lost,)
    assert node.quarantine is None
    async with world.asks("admin") as admin:
        entries = (await admin.get("/audit", params={"action": "node.released", "subject_id": lost})).json()
    assert entries["items"][0]["reason"] == f"retry of {deployment}"


async def test_a_retry_of_what_has_lost_no_node_is_refused(world: World, release: Release) -> None:
    deployment = (await deploy(world, release)).json()["id"]
    await enter(world, deployment, Phase.PLANNING, Phase.ABORTED)
    async with world.asks("dora") as dora:
        refused = await dora.post(f"/deployments/{deployment}/retry", json={"failed_only": True})
        again = await dora.post(f"/deployments/{deployment}/retry", json={})
    assert (refused.status_code, refused.json()["field"]) == (409, "failed_only")
    assert again.status_code == 202
