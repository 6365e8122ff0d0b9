"""Plans that cannot be: refused with the field and the reason, before anything is written."""

from typing import Any

import pytest
import pytest_asyncio

from domain.node import Node
from domain.wire import ModuleReport, ModuleState, NodeReport
from store import nodes
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_bad_input import check

ENVIRONMENT = "development"
STEPS = [{"step": step, "wave": 1} for step in ("stage", "activate", "verify")]
NEEDS = '[dependencies]\nplan-auth = "^1.2"\n'


@pytest_asyncio.fixture(scope="module")
async def world(own_world: World) -> World:
    """One whose nodes nobody else counts."""
    return own_world


@pytest_asyncio.fixture(scope="module")
async def fleet(world: World) -> dict[str, Release]:
    """Two nodes that report plan-auth 1.3.0; releases that need it, need it newer, or need them back."""
    made = {
        "auth": world.releases.files("1.3.0", module="plan-auth"),
        "auth-2": world.releases.files("2.0.0", module="plan-auth"),
        "web": world.releases.files("1.0.0", module="plan-web", smoke=NEEDS),
        "newer": world.releases.files("1.1.0", module="plan-web", smoke=NEEDS.replace("1.2", "1.9")),
        "ring": world.releases.files("1.4.0", module="plan-auth", smoke='[dependencies]\nplan-web = "*"\n'),
        "program": world.releases.program("1.0.0", module="plan-own-ports", swap="restart", ready="probe"),
    }
    for release in made.values():
        assert (await world.push(release)).status_code == 201
    for number in (1, 2):
        node = Node(name=f"plan-{number}", environment=ENVIRONMENT, address="https://127.0.0.1:9")
        async with world.services.database.transaction(TENANT) as session:
            await nodes.register(session, TENANT, node)
    await report(world, made["auth"])
    return made


async def report(world: World, *running: Release) -> None:
    modules = tuple(
        ModuleReport(module=each.ref.module, state=ModuleState.RUNNING, current=each.ref) for each in running
    )
    for number in (1, 2):
        seen = NodeReport(
            node=f"plan-{number}",
            boot_id="b",
            agent_version="1",
            agent_started=0.0,
            disk_free_bytes=1,
            modules=modules,
        )
        async with world.services.database.transaction(TENANT) as session:
            await nodes.seen(session, TENANT, seen.node, seen)


def body(release: Release, **more: Any) -> dict[str, Any]:
    return {
        "module": release.ref.module,
        "version": release.ref.version,
        "environment": ENVIRONMENT,
        **more,
    }


def custom(*waves: object, steps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"kind": "custom", "waves": list(waves), "steps": steps or STEPS}


@pytest.mark.parametrize(
    ("release", "strategy", "refusal"),
    [
        ("newer", None, ("dependencies.plan-auth", "plan-1 has 1.3.0, plan-2 has 1.3.0")),
        ("program", "blue-green", ("strategy", "binds its own ports")),
        ("web", {"kind": "rolling", "batch": 3}, ("strategy.batch", "larger than development, which has 2")),
        ("web", custom(3), ("strategy.waves.0", "takes 3 of 2 nodes")),
        ("web", custom("rest", steps=STEPS[:2]), ("strategy.steps.1", "never verified")),
        ("web", custom("rest", steps=[{"step": "fly", "wave": 1}]), ("strategy.custom.steps.0", "fly")),
        ("web", {"kind": "rolling", "bake": 14400}, ("deadlines.deployment", "alone take")),
    ],
)
async def test_a_plan_that_cannot_be(
    world: World, fleet: dict[str, Release], release: str, strategy: Any, refusal: tuple[str, str]
) -> None:
    field, words = refusal
    asked = body(fleet[release], **({"strategy": strategy} if strategy else {}))
    before = await world.rows()
    async with world.asks("dora") as dora:
        for path in ("/deployments/plan", "/deployments"):
            answer = await dora.post(path, json=asked)
            check(answer, 422, field)
            assert words in answer.json()["detail"]
    assert await world.rows() == before


async def test_what_an_earlier_deployment_brings_and_what_would_break(
    world: World, fleet: dict[str, Release]
) -> None:
    async with world.asks("dora") as dora:
        assert (await dora.post("/deployments/plan", json=body(fleet["web"]))).status_code == 200
        await report(world)
        missing = await dora.post("/deployments/plan", json=body(fleet["web"]))
        check(missing, 422, "dependencies.plan-auth")
        assert (await dora.post("/deployments", json=body(fleet["auth"]))).status_code == 202
        assert (await dora.post("/deployments/plan", json=body(fleet["web"]))).status_code == 200

        await report(world, fleet["auth"], fleet["web"])
        breaking = await dora.post("/deployments/plan", json=body(fleet["auth-2"]))
        check(breaking, 422, "version")
        assert "plan-web@1.0.0 on plan-1 needs plan-auth ^1.2" in breaking.json()["detail"]
        ring = await dora.post("/deployments/plan", json=body(fleet["ring"]))
        check(ring, 422, "dependencies.plan-web")
        assert "plan-auth needs plan-web needs plan-auth" in ring.json()["detail"]


async def test_a_custom_list_is_kept_with_the_environments_policy(
    world: World, fleet: dict[str, Release]
) -> None:
    async with world.asks("admin") as admin:
        before = (await admin.get(f"/clusters/{ENVIRONMENT}")).json()["policy"]
        policy = {**before, "strategy": custom("50%", "rest", steps=[*STEPS, {"step": "pause"}, *second()])}
        assert (await admin.put(f"/clusters/{ENVIRONMENT}/policy", json=policy)).status_code == 200
        plan = (await admin.post("/deployments/plan", json=body(fleet["auth"]))).json()["plan"]
        assert (await admin.put(f"/clusters/{ENVIRONMENT}/policy", json=before)).status_code == 200
    assert plan["strategy"] == "custom"
    assert [step["kind"] for step in plan["steps"]][3] == "pause"
    assert [len(wave["nodes"]) for wave in plan["waves"]] == [1, 1]


def second() -> list[dict[str, Any]]:
    return [{**step, "wave": 2} for step in STEPS]
