"""Three APIs and two workers, as processes: a rollout does not notice which of them is asked or lost."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from cli.client import ApiClient
from cli.errors import Refused, Unreachable
from domain.deployment import Phase
from domain.events import EventKind
from domain.names import deployment_workflow_id
from domain.policy import GateRule
from domain.roles import Role
from runtime.embedded.part import child_environment, python
from runtime.settings import FILE_VARIABLE
from tests.stack.faults import OTHER, assert_completed, present
from tests.stack.running import DIRECT, RunningStack, free_ports, until

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Beside:
    """What runs beside the stack's own API and worker."""

    stack: RunningStack
    urls: list[str]
    apis: list[subprocess.Popen[bytes]]
    worker: subprocess.Popen[bytes]

    def at(self, number: int, client: ApiClient) -> ApiClient:
        """The same person at one of the other APIs."""
        target = client.target.model_copy(update={"url": self.urls[number]})
        return ApiClient(target, cache=self.stack.directory.root / "cli-tokens")


@pytest.fixture(scope="module")
def beside(stack: RunningStack) -> Iterator[Beside]:
    ports = free_ports(2)
    started = [spawn(stack, "api", HOTSWAP_API_PORT=str(port)) for port in ports]
    started.append(spawn(stack, "worker"))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        until(lambda: all(map(ready, urls)))
        until(
            lambda: identity(started[-1]) in stack.temporal("task-queue", "describe", "-t", "hotswap-nodes")
        )
        yield Beside(stack, urls, started[:-1], started[-1])
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def spawn(stack: RunningStack, room: str, **settings: str) -> subprocess.Popen[bytes]:
    environment = {FILE_VARIABLE: str(stack.directory.settings), **settings}
    with stack.directory.log(f"{room}-beside").open("ab") as log:
        return subprocess.Popen(
            python("-m", room), stdout=log, stderr=log, env=child_environment(environment)
        )


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


def identity(process: subprocess.Popen[bytes]) -> str:
    """How a worker names itself to Temporal."""
    return f"{process.pid}@{os.uname().nodename}"


def workers_of(stack: RunningStack, deployment: str) -> set[str]:
    """Who worked on a deployment, as its history has it."""
    shown = stack.temporal(
        "workflow", "show", "--workflow-id", deployment_workflow_id(deployment), "-o", "json"
    )
    details = [
        details
        for event in json.loads(shown)["events"]
        for name, details in event.items()
        if name in ("activityTaskStartedEventAttributes", "workflowTaskStartedEventAttributes")
    ]
    return {each["identity"] for each in details}


@pytest.mark.finding("N15")
def test_a_worker_and_an_api_are_lost_in_the_middle_and_the_others_go_on(beside: Beside) -> None:
    stack = beside.stack
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy(GateRule(name="start", before_wave=1))
    deployer, approver = beside.at(0, stack.deployer), beside.at(1, stack.approver)
    deployment = stack.order(OTHER[before], DIRECT, by=deployer)
    with deployer.events(f"/deployments/{deployment}/events", after=None) as events:
        first = next(events)
    beside.apis[0].kill()
    beside.apis[0].wait()
    with pytest.raises(Unreachable):
        deployer.get(f"/deployments/{deployment}")
    approver.post(f"/approvals/{stack.gate(deployment)}/approve", {})
    stack.wait(deployment, lambda seen: any(node["touched_at"] for node in seen["nodes"]))
    stack.kill("worker")
    with beside.at(1, stack.deployer).events(f"/deployments/{deployment}/events", after=first.id) as events:
        rest = list(events)
    assert_completed(stack, deployment, OTHER[before])
    assert identity(beside.worker) in workers_of(stack, deployment)
    ids = [int(event.id or 0) for event in (first, *rest)]
    assert ids == sorted(set(ids))
    assert rest[-1].event == EventKind.FINISHED


@pytest.mark.finding("N15")
def test_votes_at_two_apis_at_once_have_one_result(beside: Beside) -> None:
    stack = beside.stack
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy(GateRule(name="start", before_wave=1))
    here = stack.approver
    there = beside.at(1, stack.person("test-second-approver", Role.APPROVER))
    for _ in range(5):
        deployment = stack.order(OTHER[present(stack)], DIRECT)
        gate = stack.gate(deployment)
        with ThreadPoolExecutor(2) as pool:
            votes = [pool.submit(vote, here, gate, "approve"), pool.submit(vote, there, gate, "reject")]
        assert any(each.result() for each in votes)
        end = stack.wait(deployment, lambda seen: Phase(seen["phase"]).terminal)
        shown = [client.get(f"/approvals/{gate}") for client in (here, there)]
        assert shown[0] == shown[1]
        wanted = {"approved": Phase.COMPLETED, "rejected": Phase.REJECTED}
        assert end["phase"] == wanted[shown[0]["result"]]


def vote(client: ApiClient, gate: str, decision: str) -> bool:
    """Whether the vote was taken."""
    try:
        client.post(f"/approvals/{gate}/{decision}", {})
    except Refused:
        return False
    return True
