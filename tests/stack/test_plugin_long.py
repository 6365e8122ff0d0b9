"""A canary judged by a plug-in: a package that is installed beside the worker, as an operator does it."""

import subprocess
import sys

import pytest

from cli.demo import readback
from domain.deployment import CauseKind, Phase
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from tests.stack.others import configure_worker
from tests.stack.running import BAD, GOOD, OLD, PRODUCTION

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]

PACKAGE = "hotswap-test-visitor"
STRATEGY = Canary(shares=(20, 100), bake=1)
PROJECT = f"""
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{PACKAGE}"
version = "1.0"

[project.entry-points."hotswap.providers"]
visitor = "hotswap_test_visitor:measure"

[tool.setuptools]
py-modules = ["hotswap_test_visitor"]
"""
# Visits the nodes that have changed, as a customer would, and counts what was not answered well.
PROGRAM = """
import asyncio
from pathlib import Path

import httpx

from domain.errors import ProviderDown


async def measure(config, circumstances):
    if Path(config["closed"]).exists():
        raise ProviderDown("closed")
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        urls = [config["urls"][name] for name in circumstances.canary] * config["visits"]
        answers = await asyncio.gather(*map(client.get, urls))
    failed = sum(answer.status_code >= 500 for answer in answers)
    return {"failed": failed / len(answers), "visited": sorted(circumstances.canary)}
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(command, check=True, timeout=120)


@pytest.fixture(scope="module")
def installed(stack, tmp_path_factory):
    """The package is there, and the worker may use it."""
    source = tmp_path_factory.mktemp("visitor")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "hotswap_test_visitor.py").write_text(PROGRAM)
    pip("install", "--no-index", "--no-deps", "--no-build-isolation", str(source))
    try:
        configure_worker(stack, "HOTSWAP_PROVIDERS_FILE", {"plugins": ["visitor"]})
        yield
    finally:
        pip("uninstall", "--yes", PACKAGE)


@pytest.fixture
def closed(tmp_path):
    """While this file is there, the plug-in says that what it asks is down."""
    return tmp_path / "closed"


def set_policy(stack, closed):
    """Nothing but the plug-in has a say."""
    config = {"urls": readback.endpoints(stack.deployer), "visits": 40, "closed": str(closed)}
    check = {
        "metric": {"name": "visits", "count": 3, "interval": 1, "success_condition": "result.failed < 0.02"},
        "provider": {"kind": "plugin", "name": "visitor", "config": config},
    }
    rule = {"duration": 5, "interval": 1, "warm_up": 0, "on_inconclusive": "rollback"}
    analysis = AnalysisRule.model_validate({**rule, "metrics": [], "conditions": [check]})
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=analysis)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", policy.model_dump(mode="json"))


def test_a_plug_in_that_is_down_holds_a_good_release_and_lets_it_out_once_it_measures(
    stack, installed, closed
):
    stack.install_greeter(OLD)
    set_policy(stack, closed)
    closed.touch()
    deployment = stack.order(GOOD, STRATEGY)
    held = stack.wait(deployment, lambda seen: seen["outages"])
    assert (held["phase"], held["outages"][0]["check"]) == (Phase.ANALYZING, "visits")
    assert held["outages"][0]["message"] == "plugin does not answer: closed"
    closed.unlink()
    stack.wait(deployment, lambda seen: not seen["outages"])
    end = stack.ended(deployment, Phase.COMPLETED)
    assert [(each["metric"], each["outcome"]) for each in end["verdict"]["metrics"]] == [("visits", "pass")]
    stack.assert_everywhere(stack.releases[GOOD])


def test_a_bad_release_is_taken_back_because_a_plug_in_says_so(stack, installed, closed):
    stack.install_greeter(GOOD)
    set_policy(stack, closed)
    deployment = stack.order(BAD, STRATEGY)
    end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    assert [(each["metric"], each["outcome"]) for each in end["verdict"]["metrics"]] == [("visits", "fail")]
    assert {node["wave"] for node in end["nodes"] if node["touched_at"]} == {1}
    assert end["unverified"] == []
    stack.assert_everywhere(stack.releases[GOOD])
