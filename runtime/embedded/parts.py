"""The parts of the stack: commands, and what "ready" means for each of them."""

import asyncio
import signal
import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx
import psycopg

from domain.names import CONTROL_QUEUE, NODE_QUEUE, SEARCH_ATTRIBUTES
from runtime.embedded.bootstrap import HOST, agent_file, api_url
from runtime.embedded.choices import Choices
from runtime.embedded.directory import StackDirectory
from runtime.embedded.identity import ProcessId
from runtime.embedded.part import Part, python
from runtime.embedded.postgres import PostgresDirectory
from runtime.settings import FILE_VARIABLE
from runtime.temporal import server_program

_ASK_SECONDS = 5.0
# Plain HTTP needs no roots, and loading the system's takes longer than the request.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_NAMESPACE = "default"
_QUEUE_TYPES = {CONTROL_QUEUE: "TASK_QUEUE_TYPE_WORKFLOW", NODE_QUEUE: "TASK_QUEUE_TYPE_ACTIVITY"}


def postgres_part(directory: StackDirectory, choices: Choices, cluster: PostgresDirectory) -> Part:
    """PostgreSQL. SIGINT is its fast shutdown: clients are sent away, nothing is lost."""
    port = choices.ports["postgres"]

    def answers() -> bool:
        try:
            cluster.connect(port).close()
        except psycopg.OperationalError:
            return False
        return True

    async def ready(_process: ProcessId, _started: float) -> bool:
        return await asyncio.to_thread(answers)

    return Part(
        name="postgres",
        command=cluster.command(port),
        log=directory.log("postgres"),
        ready=ready,
        port=port,
        stop_signal=signal.SIGINT,
        stop_seconds=30,
    )


def temporal_part(directory: StackDirectory, choices: Choices) -> Part:
    """Temporal's development server on a SQLite file.

    With write-ahead logging and `synchronous=NORMAL` it does about five times as many activities a second
    as with SQLite's defaults; a crash of the machine (not of the process) may cost the last transactions.
    """
    port, console = choices.ports["temporal"], choices.ports["temporal-ui"]
    pragmas = ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    columns = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]

    async def ready(_process: ProcessId, _started: float) -> bool:
        # The console forwards to the frontend: when it knows the namespace, both serve.
        return await _ask(f"http://{HOST}:{console}/api/v1/namespaces/{_NAMESPACE}") is not None

    return Part(
        name="temporal",
        command=[
            str(server_program()),
            *("server", "start-dev", "--ip", HOST, "--ui-ip", HOST),
            *("--port", str(port), "--ui-port", str(console), "--namespace", _NAMESPACE),
            *("--db-filename", str(directory.temporal_database), *pragmas, *columns),
            *("--log-level", "warn"),
        ],
        log=directory.log("temporal"),
        ready=ready,
        port=port,
        stop_seconds=20,
    )


def api_part(directory: StackDirectory, choices: Choices) -> Part:
    """The API; ready when it says so itself: database and Temporal answer it."""

    async def ready(_process: ProcessId, _started: float) -> bool:
        return await _ask(f"{api_url(choices)}/readyz") is not None

    return Part(
        name="api",
        command=python("-m", "api"),
        log=directory.log("api"),
        ready=ready,
        port=choices.ports["api"],
        environment={FILE_VARIABLE: str(directory.settings)},
        stop_seconds=20,
    )


def worker_part(directory: StackDirectory, choices: Choices) -> Part:
    """The worker; ready when Temporal has seen it ask for work on both queues.

    It gets 40 s to stop: the activities that it runs have 30 to finish.
    """
    queues = f"http://{HOST}:{choices.ports['temporal-ui']}/api/v1/namespaces/{_NAMESPACE}/task-queues"

    async def ready(_process: ProcessId, started: float) -> bool:
        for queue, kind in _QUEUE_TYPES.items():
            answer = await _ask(f"{queues}/{queue}?taskQueueType={kind}")
            if not any(
                _seconds(poller["lastAccessTime"]) >= started for poller in (answer or {}).get("pollers", ())
            ):
                return False
        return True

    return Part(
        name="worker",
        command=python("-m", "worker"),
        log=directory.log("worker"),
        ready=ready,
        environment={FILE_VARIABLE: str(directory.settings)},
        stop_seconds=40,
    )


def agent_part(directory: StackDirectory, choices: Choices, node: str) -> Part:
    """One node's agent; ready when it answers the control plane's certificate. It ends with its modules."""
    port = choices.ports[node]

    @cache
    def tls() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(directory.tls / "ca.pem"))
        context.load_cert_chain(directory.tls / "control-plane.pem", directory.tls / "control-plane.key")
        return context

    async def ready(_process: ProcessId, _started: float) -> bool:
        return await _ask(f"https://{HOST}:{port}/healthz", tls()) is not None

    return Part(
        name=node,
        command=python("-m", "agent", "--config", str(agent_file(directory, node))),
        log=directory.log(node),
        ready=ready,
        port=port,
        stop_seconds=30,
        cleans_up=True,
    )


async def _ask(url: str, tls: ssl.SSLContext = _NO_TLS) -> Mapping[str, Any] | None:
    """The JSON object at a URL ({} for other content); None unless the answer is 200."""
    try:
        async with httpx.AsyncClient(verify=tls, timeout=_ASK_SECONDS, trust_env=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError:
        return None
    if answer.status_code != HTTPStatus.OK:
        return None
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return {}
    content: Mapping[str, Any] = answer.json()
    return content


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
