"""A promotion whose worker is killed: between two environments, and during the second one's rollout."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from domain.policy import EnvironmentPolicy
from domain.strategy import Rolling
from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.working import Agents

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
STAGES = ("development", "staging")
PATIENCE = 90.0
SHARED = (
    "profile",
    "database_url",
    "temporal_address",
    "temporal_namespace",
    "bundle_directory",
    "trust_directory",
    "tls_ca",
    "tls_certificate",
    "tls_key",
    "jwt_public_key_file",
)


async def new_worker(world: World) -> asyncio.subprocess.Process:
    """A worker process of its own, with the settings of the world's API."""
    settings = world.services.settings
    named = {f"HOTSWAP_{name.upper()}": str(getattr(settings, name)) for name in SHARED}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "worker.py"), cwd=ROOT, env={**os.environ, **named}
    )


@pytest_asyncio.fixture
async def two(
    temporal: WorkflowEnvironment, new_database: Callable[[], str], tmp_path: Path
) -> AsyncIterator[World]:
    """A world with one agent in development and one in staging, both of which bake for a while."""
    client = await new_namespace(temporal)
    async with new_world(tmp_path, new_database(), client) as world:
        agents = Agents(world, tmp_path)
        try:
            for name in STAGES:
                await agents.join(name, f"{name}-1")
                policy = EnvironmentPolicy(strategy=Rolling(batch=1, bake=2)).model_dump(mode="json")
                async with world.asks("admin") as admin:
                    answer = await admin.put(f"/clusters/{name}/policy", json=policy)
                assert answer.status_code == 200, answer.text
            yield world
        finally:
            agents.kill()


async def until(world: World, promotion: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    async with world.asks("vera") as vera:
        while True:
            shown: dict[str, Any] = (await vera.get(f"/promotions/{promotion}")).json()
            if condition(shown):
                return shown
            assert time.monotonic() < deadline, shown
            assert shown["finished_at"] is None, shown
            await asyncio.sleep(0.05)


async def test_a_killed_worker_costs_time_and_nothing_else(two: World) -> None:
    release = two.releases.files("1.0.0", module="promoted-site")
    assert (await two.push(release)).status_code == 201
    worker = await new_worker(two)
    try:
        order = {"module": "promoted-site", "version": "1.0.0", "environments": list(STAGES), "soak": 3}
        async with two.asks("dora") as dora:
            answer = await dora.post("/promotions", json=order)
        assert answer.status_code == 202, answer.text
        name = answer.json()["id"]
        for condition in (
            lambda shown: shown["phase"] == "soaking",
            lambda shown: shown["stages"][1]["deployment_phase"] == "baking",
        ):
            await until(two, name, condition)
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
            worker = await new_worker(two)
        shown = await until(two, name, lambda each: each["finished_at"] is not None)
    finally:
        worker.kill()
        await worker.wait()
    assert (shown["phase"], shown["exit_code"]) == ("completed", 0)
    assert [stage["deployment"] for stage in shown["stages"]] == [f"{name}-1", f"{name}-2"]
    async with two.asks("vera") as vera:
        for number, stage in enumerate(STAGES, start=1):
            deployment = (await vera.get(f"/deployments/{name}-{number}")).json()
            assert [node["state"] for node in deployment["nodes"]] == ["verified"]
            address = (await vera.get(f"/nodes/{stage}-1")).json()["address"]
            report = await two.services.agents.of(TENANT).module(address, "promoted-site")
            assert report.current == release.ref
            applied = await two.services.agents.of(TENANT).journal(address, "promoted-site")
            assert sum(each.changed for each in applied if ":activate:" in each.id) == 1
