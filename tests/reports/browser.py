"""A page as a browser without a window shows it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests import http_server
from tests.http_server import Quiet

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="there is no chromium here (Debian's package of that name); CI installs it",
)
Answer = Callable[[str], tuple[int, Mapping[str, str], bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server of answers (path → status, headers, body); its address, and all paths that were asked for."""
    asked: list[str] = []

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with http_server.serving(Handler) as address:
        yield address, asked


def assert_shown(address: str, work: Path) -> None:
    """The page fills a picture, and its own policy refuses nothing that it holds."""
    picture = work / "report.png"
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={work / 'profile'}",
        "--window-size=1100,1400",
        f"--screenshot={picture}",
        address,
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert picture.stat().st_size > 30_000, shown.stderr[-2000:]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Content Security Policy" not in shown.stderr
