"""schemathesis over the whole OpenAPI document, as every role and as nobody, against a running API.

Whatever is sent, no answer is a server error, and each is one that the document describes. The short form
runs with the suite; `make fuzz-api` runs the long one and prints how many requests it made.
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from agent import Agent
from domain.deployment import Phase
from domain.events import EventKind
from domain.messages import Progress
from domain.node import Node
from domain.roles import Role
from store import deployments, nodes, users
from tests.agent.nodes import config as agent_config
from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.test_identity import person
from tests.api.test_server import environment
from tests.conftest import free_port

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
ROLES = ("anonymous", *Role)
SEED = 20  # the same cases in every run
PHASES = "examples,coverage,fuzzing"
ONE_USER = r"/users/\{username\}"


@dataclass
class Fuzzed:
    """A running API with a little in it, and how to sign in to it."""

    url: str
    log: Path
    config: Path
    tokens: dict[str, str]

    async def may_still_act(self, role: str) -> bool:
        """Whether the fuzzer has not locked itself out, so that it was this role to the end."""
        async with httpx.AsyncClient(timeout=20) as client:
            headers = {"Authorization": f"Bearer {self.tokens[role]}"}
            return (await client.get(f"{self.url}/api/v1/auth/me", headers=headers)).is_success

    async def requests(self) -> int:
        """How many requests the API says that it has answered."""
        async with httpx.AsyncClient(timeout=20) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        return int(
            sum(float(n) for n in re.findall(r"^hotswap_http_requests_total{.*} ([\d.e+]+)$", text, re.M))
        )

    async def run(self, role: str, examples: int, phases: str, *about: str) -> str:
        """What schemathesis says about this role; raises when it has found something.

        `about` chooses operations. One worker: with more, Python 3.11's compiler fails under hypothesis now
        and then.
        """
        token = self.tokens.get(role)
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(self.config), "run", f"{self.url}/api/v1/openapi.json"),
            *("--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", str(SEED)),
            *about,
            *("--phases", phases, "--generation-database", "none", "--no-color"),
            *("--request-timeout", "10", "--continue-on-failure", "--warnings", "off", "--workers", "1"),
            *("--suppress-health-check", "all", "--output-truncate", "false"),
            *(("-H", f"Authorization: Bearer {token}") if token else ()),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.config.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{said.decode()}\n{self.log.read_text()[-4000:]}"
        return said.decode()


async def furnish(world: World, address: str) -> dict[str, list[str]]:
    """Some of everything, so that requests find what they name; the names by parameter."""
    release = world.releases.files("1.0.0", module="fuzzed")
    assert (await world.push(release)).status_code in (200, 201)
    ended = Progress(
        tenant=TENANT,
        deployment="fuzzed-1",
        key="end",
        event=EventKind.FINISHED,
        message="it failed",
        phase=Phase.FAILED,
        actor="dora",
    )
    async with world.services.database.transaction(TENANT) as session:
        await nodes.register(session, TENANT, Node(name="node-1", environment="production", address=address))
        await users.insert(session, TENANT, username="victim", password_hash="!", role=Role.VIEWER)
        await deployments.insert(
            session,
            TENANT,
            deployment="fuzzed-1",
            environment="production",
            module="fuzzed",
            version="1.0.0",
            requester="dora",
        )
        await deployments.record(session, ended)
    return {
        "path.deployment": ["fuzzed-1"],
        "path.environment": ["production", "qa"],
        "path.node": ["node-1"],
        "path.module": ["fuzzed"],
        "path.version": ["1.0.0"],
        "path.username": ["victim"],
        "body.module": ["fuzzed"],
        "body.version": ["1.0.0"],
        "body.environment": ["production", "qa"],
    }


def write_config(path: Path, known: dict[str, list[str]]) -> Path:
    """A configuration that mixes names that exist with made-up ones, half and half."""
    named = {name: name.replace(".", "-") for name in known}
    # 502 is the truth about an agent that does not answer, and what the document says of it.
    path.write_text(
        "[auth]\nauto-signup = false\n"
        '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502]\n'
        + "".join(f"[dictionaries.{named[name]}]\nvalues = {json.dumps(known[name])}\n" for name in known)
        + "[parameters]\n"
        + "".join(f'"{name}" = {{ dictionary = "{named[name]}", probability = 0.5 }}\n' for name in known)
    )
    return path


@pytest_asyncio.fixture(scope="module")
async def fuzzed(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Fuzzed]:
    directory = tmp_path_factory.mktemp("fuzz")
    client = await new_namespace(temporal)
    async with new_world(directory, new_database(), client) as world:
        agent = Agent(agent_config(directory / "agent.toml", world.pki))
        await agent.start()
        config = write_config(directory / "schemathesis.toml", await furnish(world, agent.address))
        tokens = {}
        for role in Role:
            name, _ = await person(world, role)
            tokens[role] = world.services.minter.user(tenant=TENANT, username=name, role=role).token
        port, log = free_port(), directory / "api.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "api"],
                env=environment(world.services.settings, api_port=port),
                stdout=output,
                stderr=output,
            )
        found = Fuzzed(f"http://127.0.0.1:{port}", log, config, tokens)
        patiently = AsyncRetrying(
            stop=stop_after_delay(30),
            wait=wait_fixed(0.1),
            retry=retry_if_exception_type(httpx.HTTPError),
            reraise=True,
        )
        try:
            await patiently(found.requests)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 20)
            await agent.stop()


@pytest.mark.finding("X1")
@pytest.mark.timeout(300)
async def test_whatever_is_sent_the_answer_is_one_that_the_document_describes(fuzzed: Fuzzed) -> None:
    """The short form: as the role that gets past every check of rights, hence deepest.

    Without the routes that wait for agents: those that the fuzzer makes up never answer.
    """
    before = await fuzzed.requests()
    await fuzzed.run(Role.ADMIN, 2, "fuzzing", "--exclude-path-regex", "/metrics$")
    assert await fuzzed.requests() - before > 150


@pytest.mark.finding("X1")
@pytest.mark.fuzz_long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("role", ROLES)
async def test_at_least_a_thousand_requests_as_every_role_and_nobody(fuzzed: Fuzzed, role: str) -> None:
    """One user's routes come last, by themselves: schemathesis learns names from answers, and an admin who
    resets his own password can do nothing else afterwards.
    """
    before = await fuzzed.requests()
    said = await fuzzed.run(role, 8, PHASES, "--exclude-path-regex", ONE_USER)
    assert role not in fuzzed.tokens or await fuzzed.may_still_act(role)
    said += await fuzzed.run(role, 8, PHASES, "--include-path-regex", ONE_USER)
    assert role not in fuzzed.tokens or await fuzzed.may_still_act(role)
    made = await fuzzed.requests() - before
    print(f"as {role}: {made} requests; server errors: 0; undocumented answers: 0\n{said[-600:]}")
    assert made >= 1000
