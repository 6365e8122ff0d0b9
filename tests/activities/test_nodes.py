"""Batches of node operations, on real agents and a real database: safe to repeat, never more than ordered."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from aiohttp import web
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.hooks import CalledHooks
from activities.nodes import AgentNodes
from activities.planning import FleetPlanning
from clients.hooks import HookCaller
from domain.deployment import Cause, CauseKind, Phase
from domain.errors import Conflict, NotStaged
from domain.events import EventKind
from domain.freeze_orders import AdHocFreeze, Thaw
from domain.hook_settings import HookSettings
from domain.hooks import HookResult, HookRule
from domain.messages import DeploymentInput, NodesOrder, Prepared, Progress, RevertOrder
from domain.wire import Action
from store import deployments, freezes, hooks, rollouts
from tests.agent.nodes import AgentProcess, Release, write_config
from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.clients.receiver import receiving
from tests.conftest import free_port

NODES = ("web-1", "web-2")
DEPLOYMENT = "d-batch"


@dataclass
class Scene:
    """Two agents, a release, and a deployment of it that is planned."""

    world: World
    release: Release
    prepared: Prepared
    hands: AgentNodes

    def order(self, *nodes: str) -> NodesOrder:
        return NodesOrder(
            tenant=TENANT,
            environment="development",
            deployment=DEPLOYMENT,
            wave=1,
            nodes=nodes or NODES,
            release=self.release.ref,
            fence=self.prepared.fence,
            deadline=20,
        )

    async def journal(self, node: str) -> list[Action]:
        async with self.world.asks("vera") as vera:
            address = (await vera.get(f"/nodes/{node}")).json()["address"]
        return [entry.action for entry in await self.world.services.agents.of(TENANT).journal(address)]


def environment(*heartbeat: object) -> ActivityEnvironment:
    """An activity's surroundings; with what an earlier attempt last heartbeated."""
    found = ActivityEnvironment()
    found.info = replace(found.info, heartbeat_details=heartbeat)
    return found


@pytest_asyncio.fixture(scope="module")
async def scene(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("batches")
    async with new_world(directory, new_database(), await new_namespace(temporal)) as world:
        services = world.services
        agents = []
        async with world.asks("admin") as admin:
            for name in NODES:
                place = directory / name
                place.mkdir()
                config = write_config(place / "agent.toml", world.pki, port=free_port(), node=name)
                agents.append(AgentProcess(config, services.agents))
                address = (await agents[-1].start()).address
                body = {"name": name, "environment": "development", "address": address}
                assert (await admin.post("/nodes", json=body)).status_code == 201
        release = world.releases.files("1.0.0")
        assert (await world.push(release)).status_code == 201
        async with services.database.transaction(TENANT) as session:
            await deployments.insert(
                session,
                TENANT,
                deployment=DEPLOYMENT,
                environment="development",
                module=release.ref.module,
                version="1.0.0",
                requester="dora",
            )
            await deployments.record(session, progress("planning-1", Phase.PLANNING))
        request = DeploymentInput(
            tenant=TENANT,
            environment="development",
            deployment=DEPLOYMENT,
            requester="dora",
            module=release.ref.module,
            version="1.0.0",
        )
        planning = FleetPlanning(services.database, services.agents)
        prepared = await environment().run(planning.prepare, request)
        settings = HookSettings.model_validate({"networks": ["127.0.0.0/8"]})
        hooks = CalledHooks(services.database, HookCaller(settings))
        hands = AgentNodes(services.database, services.agents, services.bundles, hooks)
        try:
            yield Scene(world, release, prepared, hands)
        finally:
            for agent in agents:
                agent.kill()


def progress(key: str, phase: Phase, cause: Cause | None = None) -> Progress:
    return Progress(
        tenant=TENANT,
        deployment=DEPLOYMENT,
        key=key,
        event=EventKind.PHASE,
        message="in a test",
        phase=phase,
        cause=cause,
    )


async def test_planning_twice_gives_the_same_plan_and_fence(scene: Scene) -> None:
    request = DeploymentInput(
        tenant=TENANT,
        environment="development",
        deployment=DEPLOYMENT,
        requester="dora",
        module="site",
        version="1.0.0",
    )
    planning = FleetPlanning(scene.world.services.database, scene.world.services.agents)
    again = await environment().run(planning.prepare, request)
    assert (again.plan.digest, again.fence) == (scene.prepared.plan.digest, scene.prepared.fence)


async def test_a_retry_drives_only_the_nodes_that_the_heartbeat_does_not_name(scene: Scene) -> None:
    outcome = await environment(["web-1"], []).run(scene.hands.stage, scene.order())
    assert outcome.done == 2
    assert Action.STAGE not in await scene.journal("web-1")
    assert Action.STAGE in await scene.journal("web-2")
    outcome = await environment().run(scene.hands.stage, scene.order())
    assert (outcome.done, outcome.failures) == (2, ())
    assert (await scene.journal("web-2")).count(Action.STAGE) == 1


async def test_in_a_freeze_what_was_begun_is_finished_and_the_rest_is_handed_back(scene: Scene) -> None:
    database = scene.world.services.database
    freeze = AdHocFreeze(
        tenant=TENANT, environment="development", key="k1", actor="abel", reason="it burns", until=None
    )
    async with database.transaction(TENANT) as session:
        await freezes.freeze(session, freeze)
    try:
        outcome = await environment().run(scene.hands.activate, scene.order())
        assert (outcome.done, outcome.held, outcome.failures) == (0, NODES, ())
        assert outcome.freeze is not None
        assert outcome.freeze.reason == "it burns"
        async with database.transaction(TENANT) as session:
            assert (await rollouts.rollback_targets(session, TENANT, DEPLOYMENT, DEPLOYMENT)).nodes == ()
        assert Action.ACTIVATE not in [*await scene.journal("web-1"), *await scene.journal("web-2")]

        order = scene.order().model_copy(update={"attempt": 3})
        outcome = await environment([], [], ["web-1"]).run(scene.hands.stage, order)
        assert (outcome.done, outcome.held) == (1, ("web-2",))
        assert (await environment().run(scene.hands.verify, scene.order())).held == ()
    finally:
        async with database.transaction(TENANT) as session:
            thaw = Thaw(tenant=TENANT, environment="development", actor="abel", reason="it is out")
            await freezes.thaw(session, thaw)


async def test_what_had_nothing_before_cannot_be_renewed_and_stays_untouched(scene: Scene) -> None:
    outcome = await environment().run(scene.hands.renew, scene.order())
    assert outcome.done == 0
    assert {each.node: each.code for each in outcome.failures} == dict.fromkeys(NODES, NotStaged.code)
    async with scene.world.services.database.transaction(TENANT) as session:
        assert (await rollouts.rollback_targets(session, TENANT, DEPLOYMENT, DEPLOYMENT)).nodes == ()
    assert Action.RENEW not in [*await scene.journal("web-1"), *await scene.journal("web-2")]


async def test_activated_nodes_are_recorded_as_touched_and_read_back(scene: Scene) -> None:
    for operation in (scene.hands.stage, scene.hands.activate, scene.hands.activate, scene.hands.verify):
        outcome = await environment().run(operation, scene.order())
        assert (outcome.done, outcome.failures) == (2, ())
    async with scene.world.services.database.transaction(TENANT) as session:
        targets = await rollouts.rollback_targets(session, TENANT, DEPLOYMENT, DEPLOYMENT)
    assert targets.nodes == NODES
    assert targets.fence > scene.prepared.fence
    actions = [[each for each in await scene.journal(node) if each is Action.ACTIVATE] for node in NODES]
    assert actions == [[Action.ACTIVATE]] * 2


async def test_a_node_that_is_not_there_fails_by_name_and_the_others_do_not(scene: Scene) -> None:
    outcome = await environment().run(scene.hands.verify, scene.order("web-1", "web-9"))
    assert outcome.done == 1
    assert [(failure.node, failure.code) for failure in outcome.failures] == [("web-9", "node-unreachable")]


def node_hook(at: str, url: str, **changes: object) -> HookRule:
    call = {"kind": "http", "url": url}
    return HookRule.model_validate({"name": "drain", "at": at, "call": call, "attempts": 1, **changes})


async def test_hooks_of_a_node_come_before_and_after_and_a_refusal_stops_that_node_only(scene: Scene) -> None:
    async def only_web_1(number: int) -> web.Response:
        said = json.loads(receiver.got[number - 1].body)
        return web.Response(status=200 if said["node"] == "web-1" else 409)

    async with receiving(only_web_1) as receiver:
        before, after = (node_hook(at, receiver.url) for at in ("before-node", "after-node"))
        order = scene.order().model_copy(update={"hooks": (before, after), "attempt": 4})
        done = [(await scene.journal(node)).count(Action.ACTIVATE) for node in NODES]
        outcome = await environment().run(scene.hands.activate, order)
    assert [failure.node for failure in outcome.failures] == ["web-2"]
    assert outcome.failures[0].code == "hook-failed"
    said = [json.loads(got.body) for got in receiver.got]
    told = [(each["point"], each["outcome"]) for each in said if each["node"] == "web-1"]
    assert told == [("before-node", None), ("after-node", "done")]
    assert [each["point"] for each in said if each["node"] == "web-2"] == ["before-node"]
    now = [(await scene.journal(node)).count(Action.ACTIVATE) for node in NODES]
    assert now == [done[0] + 1, done[1]]
    async with scene.world.services.database.transaction(TENANT) as session:
        [run] = await hooks.of_deployment(session, TENANT, DEPLOYMENT)  # successes of nodes leave no event
    assert (run.node, run.result, run.hook) == ("web-2", HookResult.FAILED, "drain")


async def test_once_it_rolls_back_nothing_is_activated_any_more(scene: Scene) -> None:
    services = scene.world.services
    async with services.database.transaction(TENANT) as session:
        cause = Cause(kind=CauseKind.OPERATOR, message="in a test")
        await deployments.record(session, progress("rolling-back-1", Phase.ROLLING_BACK, cause))
        targets = await rollouts.rollback_targets(session, TENANT, DEPLOYMENT, DEPLOYMENT)
    for operation in (scene.hands.activate, scene.hands.renew):
        with pytest.raises(Conflict):
            await environment().run(operation, scene.order())
    order = RevertOrder(
        tenant=TENANT,
        environment="development",
        deployment=DEPLOYMENT,
        of=DEPLOYMENT,
        module="site",
        nodes=NODES,
        fence=targets.fence,
        deadline=20,
        attempt=1,
    )
    assert (await environment().run(scene.hands.revert, order)).done == 2
    assert (await environment().run(scene.hands.verify_reverted, order)).done == 2
    order = scene.order().model_copy(update={"attempt": 2})
    late = await environment().run(scene.hands.stage, order)
    assert {failure.code for failure in late.failures} == {"fenced"}
