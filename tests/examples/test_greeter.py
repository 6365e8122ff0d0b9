"""The greeter as a real process: handed its socket, ready by datagram, swapped under traffic."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bundles.archive import pack

GREETER = Path(__file__).parents[2] / "examples" / "greeter"
READY_WITHIN = 20.0
MOVE_SOCKET = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


class Greeter:
    """One running greeter, with what an agent would give it."""

    def __init__(self, tree: Path, listening: socket.socket, notify_path: Path) -> None:
        manifest = tomllib.loads((tree / "hotswap.toml").read_text())
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(notify_path))
        self.notified.settimeout(READY_WITHIN)
        command = manifest["process"]["command"]
        number = listening.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", MOVE_SOCKET, str(number), sys.executable, *command[1:]],
            cwd=tree,
            pass_fds=(number,),
            env={
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(notify_path),
                "HOTSWAP_MODULE": manifest["name"],
                "HOTSWAP_VERSION": manifest["version"],
                **manifest["process"]["environment"],
            },
        )

    def wait_ready(self) -> None:
        assert self.notified.recv(64) == b"READY=1"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.notified.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trees")
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        subprocess.run([sys.executable, GREETER / "build.py", version, root / version], check=True)
    return {tree.name: tree for tree in root.iterdir()}


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as bound:
        yield bound


@pytest.fixture
def start(
    trees: dict[str, Path], listening: socket.socket, tmp_path: Path
) -> Iterator[Callable[[str], Greeter]]:
    with contextlib.ExitStack() as running:

        def starter(version: str) -> Greeter:
            greeter = Greeter(trees[version], listening, tmp_path / f"notify-{version}-{os.urandom(4).hex()}")
            running.callback(greeter.close)
            greeter.wait_ready()
            return greeter

        yield starter


class Answers:
    """What clients saw. They retry nothing: every broken or odd answer counts as failed."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.failed: list[str] = []

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection may be used again."""
        writer.write(b"GET / HTTP/1.1\r\nHost: greeter\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in fields if line)
        body = await reader.readexactly(int(headers["content-length"]))
        if status == "HTTP/1.1 200 OK":
            self.served[json.loads(body)["version"]] += 1
        else:
            self.failed.append(status)
        return headers.get("connection") != "close"

    async def client(self, address: tuple[str, int], stop: asyncio.Event, *, keep_alive: bool) -> None:
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(*address)
                try:
                    while await self.ask(reader, writer) and keep_alive and not stop.is_set():
                        await asyncio.sleep(0.002)
                finally:
                    writer.close()
            except (OSError, EOFError) as error:
                self.failed.append(repr(error))


async def test_hand_overs_under_traffic_lose_no_request(
    start: Callable[[str], Greeter], listening: socket.socket
) -> None:
    answers, stop = Answers(), asyncio.Event()
    old = start("1.0.0")
    async with asyncio.TaskGroup() as clients:
        for number in range(12):
            clients.create_task(answers.client(listening.getsockname(), stop, keep_alive=number % 2 == 0))
        for version in ("2.0.0", "1.0.0", "2.0.0"):
            target = answers.served.total() + 300
            await reach(answers, target)
            new = await asyncio.to_thread(start, version)
            old.terminate()
            assert await asyncio.to_thread(old.process.wait, READY_WITHIN) == 0
            old = new
        await reach(answers, answers.served.total() + 300)
        stop.set()
    assert answers.failed == []
    assert answers.served.keys() == {"1.0.0", "2.0.0"}
    assert answers.served.total() >= 1200


async def reach(answers: Answers, total: int) -> None:
    async with asyncio.timeout(READY_WITHIN):
        while answers.served.total() < total:
            await asyncio.sleep(0.01)


async def test_connections_in_the_backlog_wait_for_the_successor(
    start: Callable[[str], Greeter], listening: socket.socket
) -> None:
    old = start("1.0.0")
    old.terminate()
    assert await asyncio.to_thread(old.process.wait, READY_WITHIN) == 0
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    answers = Answers()
    asked = asyncio.create_task(answers.ask(reader, writer))
    await asyncio.to_thread(start, "2.0.0")
    assert await asyncio.wait_for(asked, READY_WITHIN)
    assert answers.served == {"2.0.0": 1}
    writer.close()


async def test_an_idle_connection_gets_its_last_answer_and_does_not_hold_up_the_end(
    start: Callable[[str], Greeter], listening: socket.socket
) -> None:
    greeter = start("1.0.0")
    answers = Answers()
    late, idle = [await asyncio.open_connection(*listening.getsockname()) for _ in range(2)]
    assert await answers.ask(*late)
    assert await answers.ask(*idle)
    greeter.terminate()
    assert await asyncio.to_thread(greeter.notified.recv, 64) == b"STOPPING=1"
    assert not await answers.ask(*late), "the answer says that the connection closes"
    assert await asyncio.wait_for(idle[0].read(), READY_WITHIN) == b""
    assert await asyncio.to_thread(greeter.process.wait, READY_WITHIN) == 0
    for _, writer in (late, idle):
        writer.close()


async def test_version_3_is_slower_and_fails_some_requests_but_looks_healthy(
    start: Callable[[str], Greeter], listening: socket.socket
) -> None:
    start("3.0.0")
    answers = Answers()

    async def fifty() -> None:
        connection = await asyncio.open_connection(*listening.getsockname())
        for _ in range(50):
            await answers.ask(*connection)
        connection[1].close()

    started = time.monotonic()
    await asyncio.gather(*(fifty() for _ in range(4)))
    assert time.monotonic() - started >= 50 * 0.08
    assert answers.failed == ["HTTP/1.1 500 Internal Server Error"] * 16
    assert (await get(listening, "/healthz")).startswith("HTTP/1.1 200")
    exposition = (await get(listening, "/metrics")).split("\r\n\r\n", 1)[1]
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }
    assert samples["requests_total", None] == 200
    assert samples["request_errors_total", None] == 16
    assert samples["request_duration_seconds_count", None] == 200
    assert samples["request_duration_seconds_bucket", "0.05"] == 0
    assert samples["request_duration_seconds_bucket", "+Inf"] == 200


async def test_what_is_not_a_greeting_gets_its_status(
    start: Callable[[str], Greeter], listening: socket.socket
) -> None:
    start("1.0.0")
    assert (await get(listening, "/nowhere")).startswith("HTTP/1.1 404")
    assert (await get(listening, "/", method="POST")).startswith("HTTP/1.1 405")
    assert (await get(listening, "/" + "x" * 20_000)).startswith("HTTP/1.1 431")
    assert '"greeting": "Hello"' in await get(listening, "/?name=x")


async def get(listening: socket.socket, path: str, method: str = "GET") -> str:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await asyncio.wait_for(reader.read(), READY_WITHIN)).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0", "3.0.0"])
def test_every_release_packs(trees: dict[str, Path], tmp_path: Path, version: str) -> None:
    assert str(pack(trees[version], tmp_path / "bundle.tar.gz")) == f"greeter@{version}"
