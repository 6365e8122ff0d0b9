"""An HTTP server that greets, and that can be replaced under traffic without losing a request.

Standard library only. It listens on the socket that it is handed (LISTEN_FDS, sd_listen_fds(3)), says
READY=1 (sd_notify(3)), and on SIGTERM leaves in peace: it accepts no more, answers every request that it
has or still gets on a connection it holds, with "Connection: close", and ends when its connections have.
The listening socket is shared with its successor, which takes the connections that still wait in the
backlog; so this process closes its own descriptor and never shuts the socket down.

Environment:
    GREETING: what to say.
    LOOKUP_SECONDS: how long looking the greeting up takes; 0 by default.
    LOOKUP_FAILURES: share of look-ups that fail with a 500, from 0 to 1; 0 by default.
    DRAIN_GRACE_SECONDS: how long idle connections may stay open after SIGTERM; 3 by default.
    HOTSWAP_MODULE, HOTSWAP_VERSION: what to report of itself.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

FIRST_LISTENING_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
MAX_HEAD_BYTES = 16 * 1024
BACKLOG = 1024
# Connections that the kernel has handed over, but asyncio not yet to us, when accepting ends.
SETTLE_SECONDS = 0.1
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass
class Metrics:
    """What the module counts of its own traffic; probes and scrapes are not traffic."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def observe(self, seconds: float, *, failed: bool) -> None:
        self.requests += 1
        self.errors += failed
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1

    def exposition(self) -> str:
        """Prometheus text format 0.0.4."""
        lines = [
            "# TYPE requests_total counter",
            f"requests_total {self.requests}",
            "# TYPE request_errors_total counter",
            f"request_errors_total {self.errors}",
            "# TYPE request_duration_seconds histogram",
        ]
        below = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.buckets, strict=True):
            below += count
            lines.append(f'request_duration_seconds_bucket{{le="{bound}"}} {below}')
        lines.append(f"request_duration_seconds_sum {self.seconds}")
        lines.append(f"request_duration_seconds_count {self.requests}")
        return "\n".join(lines) + "\n"


class Greeter:
    """The service: its configuration, its counters, its open connections."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.metrics = Metrics()
        self.connections: set[Connection] = set()
        self.draining = False
        self.emptied = asyncio.Event()
        self.lookup_seconds = float(environment.get("LOOKUP_SECONDS", "0"))
        self.grace = float(environment.get("DRAIN_GRACE_SECONDS", "3"))
        self._failure_share = float(environment.get("LOOKUP_FAILURES", "0"))
        self._lookups = 0
        self._failures = 0
        greeting = {
            "module": environment.get("HOTSWAP_MODULE", "greeter"),
            "version": environment.get("HOTSWAP_VERSION", "0.0.0"),
            "pid": os.getpid(),
            "greeting": environment.get("GREETING", "Hello"),
        }
        self._body = json.dumps(greeting).encode() + b"\n"

    def greet(self) -> tuple[HTTPStatus, bytes]:
        """One greeting, or, for the configured share of requests, an error."""
        self._lookups += 1
        if round(self._lookups * self._failure_share) > self._failures:
            self._failures += 1
            return HTTPStatus.INTERNAL_SERVER_ERROR, b'{"error": "the greeting was not found in time"}\n'
        return HTTPStatus.OK, self._body

    def left(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self.emptied.set()


class Connection(asyncio.Protocol):
    """One client's connection: requests one after the other, kept alive as HTTP/1.1 does (RFC 9112)."""

    transport: asyncio.Transport

    def __init__(self, greeter: Greeter) -> None:
        self._greeter = greeter
        self._received = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server gets no other
        self._greeter.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._greeter.left(self)

    @property
    def idle(self) -> bool:
        """Neither a request in work nor a piece of one received."""
        return not self.busy and not self._received

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next_request()

    def _next_request(self) -> None:
        while not self.busy and not self.transport.is_closing():
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if len(head) > MAX_HEAD_BYTES:
                self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"", keep=False)
            elif not separator:
                return
            else:
                self._received = rest
                self._request(head)

    def _request(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        method, _, rest = line.partition(b" ")
        path, _, version = rest.partition(b" ")
        keep = version == b"HTTP/1.1" and b"connection: close" not in fields.lower()
        path = path.partition(b"?")[0]
        if method != b"GET":
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"", keep=False)
        elif path == b"/":
            self._greet(keep=keep)
        elif path == b"/healthz":
            self._answer(HTTPStatus.OK, b'{"status": "ok"}\n', keep=keep)
        elif path == b"/metrics":
            text = self._greeter.metrics.exposition().encode()
            self._answer(HTTPStatus.OK, text, keep=keep, content_type=b"text/plain; version=0.0.4")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", keep=keep)

    def _greet(self, *, keep: bool) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._greeter.lookup_seconds == 0:
            self._finish(started, keep=keep)
        else:
            self.busy = True
            loop.call_later(self._greeter.lookup_seconds, self._finish_later, started, keep)

    def _finish_later(self, started: float, keep: bool) -> None:
        self.busy = False
        self._finish(started, keep=keep)
        self._next_request()

    def _finish(self, started: float, *, keep: bool) -> None:
        status, body = self._greeter.greet()
        self._answer(status, body, keep=keep)
        seconds = asyncio.get_running_loop().time() - started
        self._greeter.metrics.observe(seconds, failed=status is not HTTPStatus.OK)

    def _answer(
        self, status: HTTPStatus, body: bytes, *, keep: bool, content_type: bytes = b"application/json"
    ) -> None:
        keep = keep and not self._greeter.draining
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s"
            % (
                status.value,
                status.phrase.encode(),
                content_type,
                len(body),
                b"" if keep else b"Connection: close\r\n",
                body,
            )
        )
        if not keep:
            self.transport.close()  # after what is written has been sent


def handed_over() -> socket.socket:
    """The listening socket that whoever started this process holds open for it."""
    mine = os.environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid())
    if not mine or int(os.environ.get("LISTEN_FDS", "0")) < 1:
        sys.exit("greeter is started with its listening socket as file descriptor 3 (LISTEN_FDS)")
    return socket.socket(fileno=FIRST_LISTENING_DESCRIPTOR)


def notify(state: bytes) -> None:
    """Tell the supervisor, if there is one that wants to know; one that stopped listening is no error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor, contextlib.suppress(OSError):
            supervisor.connect("\0" + address[1:] if address.startswith("@") else address)
            supervisor.send(state)


async def drain(greeter: Greeter, server: asyncio.Server) -> None:
    """Stop accepting; end when the last connection has ended, idle ones after the grace at the latest."""
    notify(b"STOPPING=1")
    greeter.draining = True
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        # Server.close() would drop what was accepted in the same turn of the loop: stop accepting first.
        loop.remove_reader(listener.fileno())
    await asyncio.sleep(SETTLE_SECONDS)
    server.close()
    if not greeter.connections:
        return
    greeter.emptied.clear()
    try:
        await asyncio.wait_for(greeter.emptied.wait(), greeter.grace)
    except TimeoutError:
        for connection in [each for each in greeter.connections if each.idle]:
            connection.transport.close()
        await greeter.emptied.wait()


async def main() -> None:
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, terminated.set)
    loop.add_signal_handler(signal.SIGINT, terminated.set)
    greeter = Greeter(os.environ)
    server = await loop.create_server(lambda: Connection(greeter), sock=handed_over(), backlog=BACKLOG)
    notify(b"READY=1")
    await terminated.wait()
    await drain(greeter, server)


if __name__ == "__main__":
    asyncio.run(main())
