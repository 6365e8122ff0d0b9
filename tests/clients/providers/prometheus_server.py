"""Debian's real Prometheus on a port of ours, scraping a target of ours."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from tests.conftest import free_port

PROGRAM = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("CI"),
    reason="there is no prometheus program here (Debian's package of that name); CI installs it",
)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def target(registry: CollectorRegistry) -> Iterator[int]:
    """Serve a registry's metrics; gives the port."""
    server = make_server("127.0.0.1", 0, make_wsgi_app(registry), handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server:
    """A Prometheus that scrapes node → port every second; what it has stored outlives a kill."""

    def __init__(self, directory: Path, targets: dict[str, int], port: int) -> None:
        listed = "".join(
            f"      - targets: ['127.0.0.1:{port}']\n        labels: {{node: '{node}'}}\n"
            for node, port in targets.items()
        )
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs:\n  - job_name: greeter\n    static_configs:\n{listed}"
        )
        self._directory = directory
        self._targets = len(targets)
        self.address = f"http://127.0.0.1:{port}"
        self._listen = f"--web.listen-address=127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once all targets are scraped."""
        assert PROGRAM is not None, "CI must install Debian's prometheus"
        command = [
            PROGRAM,
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            self._listen,
            "--log.level=error",
        ]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.address, f"sum(up) == {self._targets}")

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def stop(self) -> None:
        """In peace."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


@contextmanager
def prometheus(directory: Path, targets: dict[str, int]) -> Iterator[str]:
    """A server's address, once it has scraped all its targets."""
    server = Server(directory, targets, free_port())
    try:
        server.start()
        yield server.address
    finally:
        server.stop()


def wait_until(address: str, query: str, seconds: float = 30) -> None:
    """Wait until a query gives anything."""

    def ask() -> list[object]:
        answer = httpx.get(f"{address}/api/v1/query", params={"query": query})
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    patiently = Retrying(
        stop=stop_after_delay(seconds),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(httpx.HTTPError) | retry_if_result(lambda found: not found),
    )
    patiently(ask)
