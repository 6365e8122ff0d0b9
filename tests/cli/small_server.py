"""A real HTTP server on a real port, with scripted answers: what the CLI meets when the API misbehaves."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What to say; with `chunks` the body is a stream that ends (or breaks off) after them."""

    status: int = 200
    body: Any = None
    kind: str = "application/json"
    chunks: Iterator[bytes] | None = None


Handler = Callable[[Request], Answer]


@dataclass
class SmallServer:
    """Routes are "METHOD /path" without the query; all requests are kept."""

    routes: dict[str, Handler] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """The base of the API."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Answer:
        """The route's answer."""
        self.requests.append(request)
        route = self.routes.get(f"{request.method} {request.path.partition('?')[0]}")
        if route is None:
            return Answer(404, {"title": "Not found", "detail": f"no {request.path}", "code": "not-found"})
        return route(request)

    @contextmanager
    def running(self) -> Iterator["SmallServer"]:
        """Listen; a second call takes the same port again."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(owner: SmallServer) -> type[BaseHTTPRequestHandler]:
    class Handle(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = owner.answer(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if answer.chunks is None:
                content = b"" if answer.body is None else json.dumps(answer.body).encode()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in answer.chunks:
                self.wfile.write(chunk)
                self.wfile.flush()

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    return Handle
