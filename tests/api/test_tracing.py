"""One trace from the request through workflow and activities to the agent; its id wherever a person looks."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from temporalio.testing import WorkflowEnvironment

from runtime.telemetry import start_tracing
from runtime.temporal import connect
from tests.api.conftest import World, new_namespace, new_world
from tests.api.working import Agents, at_work

PATIENCE = 60.0
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str


class Collector:
    """A small OTLP collector: takes spans over HTTP, as the exporters send them, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        spans, bodies = self.spans, self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(body)
                spans.extend(read_spans(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def of_trace(self, trace: str) -> dict[str, Span]:
        return {span.id: span for span in self.spans if span.trace == trace}


def read_spans(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        names = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    names["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                )


@dataclass
class Traced:
    world: World
    collector: Collector
    flush: Callable[[], bool]
    agent_log: Path


@pytest_asyncio.fixture(scope="module")
async def traced(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Traced]:
    """A world, a worker and one agent that send their spans to one collector."""
    directory = tmp_path_factory.mktemp("traced")
    collector = Collector()
    provider = start_tracing("test", collector.endpoint)
    namespace = await new_namespace(temporal)
    async with new_world(directory, new_database(), namespace) as world:
        client = await connect(world.services.settings)
        object.__setattr__(world.services, "temporal", client)  # as api.services opens it, with traces
        agents = Agents(world, directory)
        try:
            await agents.join("development", "web-1", otlp_endpoint=collector.endpoint)
            async with at_work(world, client):
                yield Traced(world, collector, provider.force_flush, directory / "web-1/agent.log")
        finally:
            agents.kill()
            provider.shutdown()
            collector.server.shutdown()


async def deploy(world: World, module: str, trace: str) -> str:
    """A finished deployment that was asked for under this trace; its id."""
    release = world.releases.files("1.0.0", module=module)
    assert (await world.push(release)).status_code in (200, 201)
    body = {"module": module, "version": "1.0.0", "environment": "development"}
    async with world.asks("dora") as dora:
        answer = await dora.post(
            "/deployments", json=body, headers={"traceparent": f"00-{trace}-{PARENT}-01"}
        )
        assert answer.status_code == 202, answer.text
        assert answer.headers["X-Trace-Id"] == trace
        deployment = answer.json()["id"]
        deadline = time.monotonic() + PATIENCE
        while (found := (await dora.get(f"/deployments/{deployment}")).json())["phase"] != "completed":
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)
    return str(deployment)


@pytest.mark.finding("X2")
@pytest.mark.finding("N16")
async def test_one_trace_joins_request_workflow_activities_and_agent(traced: Traced) -> None:
    """The second deployment of a lane has a trace of its own, though the lane runs since the first."""
    other = "0af7651916cd43dd8448eb211c80319c"
    await deploy(traced.world, "first-traced", other)
    deployment = await deploy(traced.world, "second-traced", TRACE)
    deadline = time.monotonic() + PATIENCE
    while True:
        traced.flush()
        spans = traced.collector.of_trace(TRACE)
        ordered = [span for span in spans.values() if span.name == "POST /v1/operations"]
        if len(ordered) >= 2 and any(span.name == "POST /api/v1/deployments" for span in spans.values()):
            break
        assert time.monotonic() < deadline, sorted(span.name for span in spans.values())
        await asyncio.sleep(0.2)
    assert {span.service for span in ordered} == {"hotswap-agent"}
    for span in ordered:
        assert ancestry(spans, span)[-1].name == "POST /api/v1/deployments"
        names = {each.name for each in ancestry(spans, span)}
        assert any(name.startswith("RunActivity:") for name in names)
    assert "RunWorkflow:DeploymentWorkflow" in {span.name for span in spans.values()}
    assert {span.name for span in traced.collector.of_trace(other).values()} >= {"POST /v1/operations"}
    async with traced.world.asks("vera") as vera:
        events = await vera.get(f"/deployments/{deployment}/events")
    told = [json.loads(line[6:]) for line in events.text.splitlines() if line.startswith("data: ")]
    assert {event["trace_id"] for event in told} == {TRACE}
    async with traced.world.asks("admin") as admin:
        entries = (await admin.get("/audit", params={"trace": TRACE})).json()["items"]
    assert deployment in {entry["subject_id"] for entry in entries}


def ancestry(spans: dict[str, Span], span: Span) -> list[Span]:
    """The span, its parent, and so on, up to the first whose parent was not made here."""
    found = [span]
    while found[-1].parent in spans:
        found.append(spans[found[-1].parent])
    assert found[-1].parent == PARENT
    return found


@pytest.mark.finding("X22")
async def test_a_problem_names_the_callers_trace(traced: Traced) -> None:
    async with traced.world.asks("vera") as vera:
        answer = await vera.get("/deployments/none", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert answer.json()["trace_id"] == answer.headers["X-Trace-Id"] == TRACE
        for nonsense in (f"00-{'0' * 32}-{PARENT}-01", "x", f"00-{TRACE.upper()}-{PARENT}-01"):
            made_up = await vera.get("/deployments/none", headers={"traceparent": nonsense})
            assert made_up.json()["trace_id"] not in (TRACE, "0" * 32)
            assert len(made_up.json()["trace_id"]) == 32


async def test_no_query_is_exported_for_a_link_to_vote_has_its_token_there(traced: Traced) -> None:
    secret, trace = "a-token-in-a-link", "1bf7651916cd43dd8448eb211c80319d"
    async with traced.world.asks(None) as nobody:
        headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
        assert (await nobody.get("/votes", params={"token": secret}, headers=headers)).status_code == 401
    deadline = time.monotonic() + PATIENCE
    while not traced.collector.of_trace(trace):
        assert time.monotonic() < deadline
        traced.flush()
        await asyncio.sleep(0.05)
    assert not [body for body in traced.collector.bodies if secret.encode() in body]
