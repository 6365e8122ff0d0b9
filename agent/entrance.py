"""The private way to a process that the public does not reach: ports on the node that relay to it."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
_CHUNK = 64 * 1024


@dataclass
class Entrance:
    """One private port for each socket of a process.

    Attributes:
        source: the address that the steering knows as private (agent.steering).
        address: where the sockets listen.
        ports: socket name → its public port.
    """

    source: str
    address: str
    ports: Mapping[str, int]
    endpoints: dict[str, str] = field(default_factory=dict)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _relays: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        """Listen on ports that the kernel picks; `endpoints` has them afterwards."""
        for name, port in self.ports.items():

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
            ) -> None:
                task = asyncio.current_task()
                if task is not None:
                    self._relays.add(task)
                    task.add_done_callback(self._relays.discard)
                # Cut off by close(): asyncio would report the cancellation of a connection as an error.
                with contextlib.suppress(asyncio.CancelledError):
                    await self._relay(reader, writer, port)

            server = await asyncio.start_server(serve, LOOPBACK, 0)
            self._servers.append(server)
            self.endpoints[name] = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Listen no more; connections under way are cut."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for relay in list(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def private_ports(self) -> dict[str, int]:
        """Socket name → private port."""
        return {name: int(endpoint.rpartition(":")[2]) for name, endpoint in self.endpoints.items()}

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        host = LOOPBACK if self.address == "0.0.0.0" else self.address  # noqa: S104 # nosec B104 - compared
        try:
            onward_reader, onward_writer = await asyncio.open_connection(
                host, port, local_addr=(self.source, 0)
            )
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, onward_writer), _pump(onward_reader, writer))
        finally:
            writer.transport.abort()
            onward_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on; a connection that breaks is an end too."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
