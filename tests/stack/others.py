"""Another system that hooks call: an HTTP server in a thread, and a program that keeps what it is told."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from runtime import files
from tests.stack.running import RunningStack, until

SECRET = "a secret of the stack's tests"
Answer = Callable[[Mapping[str, Any]], Mapping[str, str]]


@dataclass(frozen=True)
class Call:
    """One request: its signature's headers, its bytes, and what these say."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class Others:
    """A context manager. `answer` makes the answer's JSON from what a call says."""

    def __init__(self, answer: Answer) -> None:
        self.calls: list[Call] = []
        others = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                call = Call(dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"])))
                others.calls.append(call)
                body = json.dumps(answer(call.said)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: the tests look at `calls`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "Others":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def allow(stack: RunningStack, programs: Mapping[str, str]) -> None:
    """Let the worker call this machine's servers, and these programs (for sh), until the stack ends."""
    allowed = {
        "networks": ["127.0.0.0/8"],
        "secrets": {"others": SECRET},
        "commands": {name: {"argv": ["/bin/sh", "-c", script]} for name, script in programs.items()},
    }
    configure_worker(stack, "HOTSWAP_HOOKS_FILE", allowed)


def configure_worker(stack: RunningStack, variable: str, content: Mapping[str, Any]) -> None:
    """A file of the worker's that one of its settings names; the worker is started anew to read it."""
    path: Path = stack.directory.root / f"{variable.lower()}.yaml"
    files.replace(path, json.dumps(content).encode())
    before = stack.directory.settings.read_bytes()
    files.replace(stack.directory.settings, before + f"{variable}='{path}'\n".encode())
    killed = stack.kill("worker")
    until(lambda: stack.process("worker") not in (None, killed) and stack.back("worker"))
