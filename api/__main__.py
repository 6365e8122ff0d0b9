"""`python -m api`: serve until SIGINT or SIGTERM."""

import asyncio
import signal
import sys
from typing import Final

import uvicorn

from api import promotions, tenancy
from api.application import create_app
from api.connections import ImpatientProtocol
from api.housekeeping import tidy
from api.lanes import keep
from api.services import open_services
from domain.errors import InvalidInput
from runtime import memory, settings
from runtime.settings import ApiSettings
from runtime.telemetry import configure_logging, start_tracing
from runtime.temporal import leave_cleanly

MAX_HEADER_BYTES: Final = 32 * 1024
# Streams of events have no end of their own; the rest of the requests is done long before.
SHUTDOWN_SECONDS: Final = 5


async def serve(configuration: ApiSettings) -> None:
    """Open everything, answer requests, look after the lanes."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn sends itself the signal again once it has ended: it must not end us before all is closed.
        loop.add_signal_handler(number, lambda: None)
    async with leave_cleanly(), open_services(configuration) as services:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(services),
                host=configuration.api_host,
                port=configuration.api_port,
                log_config=None,  # as configured below; api.middleware logs each request, with its trace
                access_log=False,
                proxy_headers=False,
                server_header=False,
                http=ImpatientProtocol,  # h11 bounds the headers of a request
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        keepers = [
            asyncio.create_task(keep(services.temporal, services.database)),
            asyncio.create_task(tenancy.keep(services.temporal, services.database)),
            asyncio.create_task(promotions.keep(services.temporal, services.database)),
            asyncio.create_task(tidy(services.database, services.counters, services.bundles)),
        ]
        memory.settle()
        try:
            await server.serve()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)


def main() -> int:
    """Serve; 1 when the settings do not allow it."""
    try:
        configuration = settings.load(ApiSettings)
        configure_logging("api", configuration.log_level)
        traces = start_tracing("api", configuration.otlp_endpoint)
        asyncio.run(serve(configuration))
        traces.shutdown()
    except InvalidInput as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
