"""Alert rules that fire and clear, dashboards that draw what there is, a runbook for each alert."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.telemetry import TelemetryInterceptor
from agent.metrics import AgentMetrics
from api.metrics import Metrics
from domain.deployment import Phase
from domain.events import EventKind
from domain.messages import Progress
from runtime.telemetry import metrics_runtime
from store.counts import Counts
from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULE_TESTS = RULES.with_name("alerts_test.yaml")
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
NAME = re.compile(r"\b(?:hotswap|temporal)_[a-z_]+\b")
# The SDK has these once something has failed or waited; "up" is Prometheus' own.
AFTER_FAILURES = {"temporal_workflow_task_execution_failed_total"}


def alerts() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str, directory: Path = RULES.parent) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None and not os.environ.get("CI"):
        pytest.skip("promtool is not installed: Debian's package prometheus has it (make tools)")
    assert program is not None, "CI installs promtool"
    return subprocess.run(
        [program, *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.finding("N11")
def test_every_alert_fires_and_clears() -> None:
    checked = promtool("check", "rules", RULES.name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", RULE_TESTS.name)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    cases = {case["name"]: case for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]}
    assert set(cases) == {rule["alert"] for rule in alerts()}
    for case in cases.values():
        fires, clears = case["promql_expr_test"]
        assert fires["exp_samples"]
        assert not clears["exp_samples"]


def test_a_rule_that_never_fires_is_noticed(tmp_path: Path) -> None:
    text = RULES.read_text().replace("hotswap_lanes_frozen > 0", "hotswap_lanes_frozen > 1000")
    (tmp_path / RULES.name).write_text(text)
    shutil.copy(RULE_TESTS, tmp_path)
    assert promtool("test", "rules", RULE_TESTS.name, directory=tmp_path).returncode != 0


@pytest.mark.finding("N13")
def test_every_alert_says_what_to_do() -> None:
    for rule in alerts():
        page, _, anchor = str(rule["annotations"]["runbook"]).partition("#")
        text = (ROOT / page).read_text()
        headings = [
            re.sub(r"[^a-z0-9 -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        ]
        assert anchor in headings, rule["alert"]
        assert str(rule["alert"]) in text, f"{rule['alert']} is not in {page}"


def exposed_by_api_and_agent() -> set[str]:
    api = Metrics({"tls_ca": 1.0})
    api.request("GET", "/deployments", 200, 0.1)
    counts = Counts(
        deployments={("production", Phase.QUEUED): 1},
        nodes={"production": 1},
        silent={"production": 0},
        frozen=0,
        gates=0,
        near_quota={"nodes": 0},
    )
    agent = AgentMetrics()
    agent.module_up.labels("greeter", "1.0.0").set(1)
    agent.operations.labels("stage", "ok").inc()
    agent.restarts.labels("greeter").inc()
    return names(api.text(counts).decode()) | names(agent.exposition().decode())


def names(exposition: str) -> set[str]:
    return {line.split("{")[0].split(" ")[0] for line in exposition.splitlines() if not line.startswith("#")}


@activity.defn(name="record")
async def record(_: Progress) -> None: ...


@workflow.defn(sandboxed=False)
class Recording:
    @workflow.run
    async def run(self, progress: Progress) -> None:
        await workflow.execute_activity(record, progress, start_to_close_timeout=timedelta(seconds=10))


async def exposed_by_a_worker(temporal: WorkflowEnvironment) -> str:
    """What a worker's /metrics has after one rollout's event: the SDK's numbers and ours."""
    address = f"127.0.0.1:{free_port()}"
    client = await Client.connect(
        temporal.client.service_client.config.target_host,
        data_converter=temporal.client.data_converter,
        runtime=metrics_runtime(address),
    )
    progress = Progress(
        tenant="default",
        deployment="d",
        key="k",
        event=EventKind.FINISHED,
        message="done",
        phase=Phase.COMPLETED,
    )
    async with Worker(
        client,
        task_queue="metrics",
        workflows=[Recording],
        activities=[record],
        interceptors=[TelemetryInterceptor()],
    ):
        await client.execute_workflow(Recording.run, progress, id="metrics", task_queue="metrics")
        async with httpx.AsyncClient() as asking:
            return (await asking.get(f"http://{address}/metrics")).text


def asked_for() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        for name in NAME.findall(str(rule["expr"])):
            yield str(rule["alert"]), name
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                for name in NAME.findall(target["expr"]):
                    yield path.name, name


@pytest.mark.finding("X2")
async def test_rules_and_dashboards_ask_for_numbers_that_exist(temporal: WorkflowEnvironment) -> None:
    worker = await exposed_by_a_worker(temporal)
    assert re.search(rf'hotswap_deployment_events_total{{.*event="{EventKind.FINISHED}".*}} 1', worker)
    assert re.search(r'hotswap_deployment_phases_total{.*phase="completed".*} 1', worker)
    known = exposed_by_api_and_agent() | names(worker) | AFTER_FAILURES
    assert [(where, name) for where, name in asked_for() if name not in known] == []


def test_there_are_dashboards_and_each_says_where_its_numbers_come_from() -> None:
    assert [path.stem for path in DASHBOARDS] == ["api", "nodes", "rollouts", "workers"]
    uids = set()
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        uids.add(board["uid"])
        assert board["templating"]["list"][0]["type"] == "datasource"
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(uids) == len(DASHBOARDS)
