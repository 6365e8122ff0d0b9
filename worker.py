"""One worker process: workflows with short activities, node operations, and hooks, a task queue each.

So a storm of node operations, or a slow hook, never delays a gate. SIGTERM drains: running activities get
their time, then the process ends. Any number of these may run side by side.
"""

import asyncio
import signal
import sys
from typing import Any

from temporalio.worker import Worker

from activities.errors import ErrorInterceptor
from activities.origin import OriginInterceptor
from activities.registry import Holdings, control_activities, hook_activities, node_activities
from activities.telemetry import TelemetryInterceptor
from clients.agent import AgentClient
from clients.hooks import HookCaller
from clients.providers.http import ProviderHttp
from domain.errors import InvalidInput
from domain.names import CONTROL_QUEUE, HOOK_QUEUE, NODE_QUEUE
from runtime import memory
from runtime.settings import WorkerSettings, load
from runtime.telemetry import configure_logging, metrics_runtime, start_tracing
from runtime.temporal import connect, leave_cleanly, worker_tuning, workflow_runner
from runtime.tokens import TokenReader
from store.bundles import BundleDirectory
from store.database import Database
from workflows import ALL_WORKFLOWS

RECORDS_AT_ONCE = 50
BATCHES_AT_ONCE = 32
HOOKS_AT_ONCE = 200


def workers(held: Holdings) -> tuple[Worker, Worker, Worker]:
    """The workers of the three queues: workflows with short activities, node operations, hooks."""
    common: Any = {
        "interceptors": [TelemetryInterceptor(), ErrorInterceptor(), OriginInterceptor()],
        **worker_tuning(),
    }
    control = Worker(
        held.client,
        task_queue=CONTROL_QUEUE,
        workflows=ALL_WORKFLOWS,
        activities=control_activities(held),
        workflow_runner=workflow_runner(),
        max_concurrent_activities=RECORDS_AT_ONCE,
        **common,
    )
    nodes = Worker(
        held.client,
        task_queue=NODE_QUEUE,
        activities=node_activities(held),
        max_concurrent_activities=BATCHES_AT_ONCE,
        **common,
    )
    hooks = Worker(
        held.client,
        task_queue=HOOK_QUEUE,
        activities=hook_activities(held),
        max_concurrent_activities=HOOKS_AT_ONCE,
        **common,
    )
    return control, nodes, hooks


async def work(settings: WorkerSettings) -> None:
    """Poll the queues until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = await connect(settings, runtime=metrics_runtime(settings.metrics_address()))
    database = Database(
        settings.database_url, pool_size=settings.database_pool, pool_wait=settings.database_pool_wait
    )
    await database.require_bound_role()
    providers = settings.providers()
    async with (
        AgentClient(
            ca=settings.tls_ca,
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            networks=settings.where_agents_may_be(),
        ) as agents,
        ProviderHttp(providers) as provider_http,
        HookCaller(settings.hooks()) as hook_caller,
    ):
        held = Holdings(
            client=client,
            database=database,
            agents=agents,
            bundles=BundleDirectory(settings.bundle_directory),
            tokens=TokenReader.load(settings.jwt_public_key_file),
            hooks=hook_caller,
            provider_http=provider_http,
            providers=providers,
        )
        control, nodes, hooks = workers(held)
        memory.settle()
        async with leave_cleanly(), control, nodes, hooks:
            await stop.wait()
    await database.dispose()


def main() -> int:
    """Read the settings and work; 2 when the settings are wrong."""
    try:
        settings = load(WorkerSettings)
        settings.providers()
        settings.hooks()
    except InvalidInput as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    configure_logging("worker", settings.log_level)
    traces = start_tracing("worker", settings.otlp_endpoint)
    try:
        asyncio.run(work(settings))
    except InvalidInput as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    finally:
        traces.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
