"""Real agents, releases and clients for tests."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from agent.config import AgentConfig, load
from agent.identity import CONTROL_PLANE
from agent.records import LINE, Line
from bundles.archive import pack
from bundles.signature import sign
from clients.agent import AgentClient
from domain.networks import AgentNetworks
from domain.release import ReleaseRef
from domain.wire import Action, ModuleReport, Operation, OperationResult
from runtime.authority import Authority, Credentials, Usage

TENANT = "default"
PROGRAM = Path(__file__).with_name("program.py")
_ids = count(1)


class Pki:
    """A CA for TLS, one for signatures, and what they issued."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca = Authority.ensure(directory, "ca", "test CA")
        self.signing = Authority.ensure(directory, "signing", "test signing CA")
        self.control = self.client("control", CONTROL_PLANE)
        self.node = self.ca.issue(
            directory, "node", usage=Usage.SERVER, common_name="node-1", hosts=["127.0.0.1"]
        )
        self.signer = self.signing.issue(
            directory, "signer", usage=Usage.CODE_SIGNING, common_name="release team"
        )

    def client(self, name: str, common_name: str) -> Credentials:
        return self.ca.issue(self._directory, name, usage=Usage.CLIENT, common_name=common_name)

    def agents(self, credentials: Credentials | None = None) -> AgentClient:
        own = credentials or self.control
        return AgentClient(
            ca=self.ca.root.certificate,
            certificate=own.certificate,
            key=own.key,
            networks=AgentNetworks(loopback=True),
        )

    @asynccontextmanager
    async def connect(self, credentials: Credentials | None = None) -> AsyncIterator[AgentClient]:
        """For calls in the name of the tenant that agents belong to when their configuration says nothing."""
        async with self.agents(credentials) as agents:
            yield agents.of(TENANT)


@dataclass(frozen=True)
class Release:
    """A signed bundle."""

    ref: ReleaseRef
    bundle: Path
    signature: str


class Releases:
    """Makes bundles, each once."""

    def __init__(self, directory: Path, pki: Pki) -> None:
        self._directory = directory
        self._pki = pki
        self._made: dict[tuple[object, ...], Release] = {}

    def files(
        self,
        version: str,
        *,
        module: str = "site",
        reload: list[str] | None = None,
        reload_timeout: float = 5,
        smoke: str = "",
    ) -> Release:
        """A files release; `index.txt` holds its version."""
        section = (
            f"[files]\nreload = {json.dumps(reload)}\nreload_timeout = {reload_timeout}\n" if reload else ""
        )
        manifest = f'name = "{module}"\nversion = "{version}"\nkind = "files"\n{section}{smoke}'
        return self._make((manifest,), manifest, {"index.txt": f"{version} "})

    def program(
        self,
        version: str,
        behaviour: str = "serve",
        *,
        module: str = "echo",
        swap: str = "handover",
        ready: str = "notify",
        start_timeout: float = 10,
        smoke: str = "",
    ) -> Release:
        """A process release that runs program.py."""
        command = json.dumps([sys.executable, "program.py", behaviour, "{port:http}"])
        manifest = f"""
            name = "{module}"
            version = "{version}"
            kind = "process"
            [process]
            command = {command}
            swap = "{swap}"
            ready = "{ready}"
            start_timeout = {start_timeout}
            drain_timeout = 5
            sockets = [{{ name = "http" }}]
            [probe]
            socket = "http"
            interval = 0.2
            [metrics]
            socket = "http"
            {smoke}
        """
        return self._make((manifest,), manifest, {"program.py": PROGRAM.read_text()})

    def _make(self, key: tuple[object, ...], manifest: str, files: Mapping[str, str]) -> Release:
        if key not in self._made:
            self._directory.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=self._directory))
            tree = place / "tree"
            tree.mkdir()
            for name, text in {"hotswap.toml": manifest, **files}.items():
                (tree / name).write_text(text)
            bundle = place / "bundle"
            ref = pack(tree, bundle)
            self._made[key] = Release(ref, bundle, self.signature(bundle, self._pki.signer))
        return self._made[key]

    def signature(self, bundle: Path, signer: Credentials) -> str:
        der = sign(bundle, signer.certificate.read_bytes(), signer.key.read_bytes())
        return base64.b64encode(der).decode()


@dataclass
class Node:
    """One node's agent at work, and shorthand for what tests do to it."""

    client: AgentClient
    address: str
    directory: Path
    fence: int = 1

    def operation(
        self,
        action: Action,
        release: Release | None,
        module: str | None = None,
        name: str | None = None,
        keep: bool = False,
    ) -> Operation:
        return Operation(
            id=name or f"op-{next(_ids)}",
            action=action,
            module=release.ref.module if release else module,
            fence=self.fence,
            release=release.ref if release else None,
            signature=release.signature if release and action is Action.STAGE else None,
            keep=keep,
        )

    async def stage(self, release: Release, **more: str) -> OperationResult:
        operation = self.operation(Action.STAGE, release, **more)
        return await self.client.stage(self.address, operation, release.bundle)

    async def order(self, action: Action, release: Release | None, **more: str | bool) -> OperationResult:
        return await self.client.operate(self.address, self.operation(action, release, **more))

    async def install(self, release: Release) -> OperationResult:
        await self.stage(release)
        return await self.order(Action.ACTIVATE, release)

    async def module(self, name: str = "echo") -> ModuleReport:
        return await self.client.module(self.address, name)

    def module_directory(self, name: str) -> Path:
        return self.directory / "modules" / name

    def slot(self, release: Release) -> Path:
        name = f"{release.ref.version}-{release.ref.digest[:12]}"
        return self.module_directory(release.ref.module) / "releases" / name

    def journal(self) -> list[Line]:
        """The complete lines of the journal, as they are on the disk now."""
        data = (self.directory / "journal.jsonl").read_bytes()
        return [LINE.validate_json(line) for line in data.split(b"\n")[:-1]]


class AgentProcess:
    """`python -m agent`, to be killed."""

    def __init__(self, config: Path, client: AgentClient) -> None:
        self._settings = settings = load(config)
        self._config = config
        self._log = config.with_suffix(".log")
        self.node = Node(client.of(settings.tenant), f"https://{settings.listen}", settings.directory)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Node:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agent", "--config", str(self._config)], stdout=log, stderr=log
            )
        await until(self._listens, 20)
        return self.node

    def _listens(self) -> bool:
        host, port = self._settings.host_and_port
        with socket.socket() as probe:
            return probe.connect_ex((host, port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    def log(self) -> str:
        return self._log.read_text()


def write_config(path: Path, pki: Pki, port: int = 0, **more: object) -> Path:
    """An agent.toml; the agent's directory is beside it."""
    values = {
        "node": "node-1",
        "listen": f"127.0.0.1:{port}",
        "directory": str(path.parent / "node"),
        "tls_ca": str(pki.ca.root.certificate),
        "tls_certificate": str(pki.node.certificate),
        "tls_key": str(pki.node.key),
        "trust": str(pki.signing.root.certificate),
        "sample_seconds": 0.1,
        **more,
    }
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return path


def config(path: Path, pki: Pki, **more: object) -> AgentConfig:
    return load(write_config(path, pki, **more))


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something to become true, looking often."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def until_report(
    node: Node, condition: Callable[[ModuleReport], bool], module: str = "echo"
) -> ModuleReport:
    """Wait until a module's report fits."""
    deadline = time.monotonic() + 15
    while True:
        report = await node.module(module)
        if condition(report):
            return report
        assert time.monotonic() < deadline, report
        await asyncio.sleep(0.02)


async def ask(endpoint: str, path: str = "/") -> tuple[int, str]:
    """One request on a new connection: status and body."""
    host, _, port = endpoint.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()


@dataclass
class Traffic:
    """Clients that ask an endpoint without a pause, each request on a new connection."""

    endpoint: str
    clients: int = 4
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def __aenter__(self) -> "Traffic":
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hears(self, version: str, times: int) -> None:
        """Wait until so many more answers of a version have come."""
        wanted = self.answers.get(version, 0) + times
        await until(lambda: self.answers.get(version, 0) >= wanted)

    async def _run(self) -> None:
        while True:
            try:
                status, body = await ask(self.endpoint)
                version = body.split()[0]
                self.answers[version] = self.answers.get(version, 0) + 1
                if status != 200:
                    self.failures.append(str(status))
            except (OSError, IndexError) as error:
                self.failures.append(repr(error))


def running(directory: Path) -> list[int]:
    """Pids of the module processes that run from below a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and (entry / "cwd").readlink().is_relative_to(directory.resolve()):
                    found.append(int(entry.name))
    return found


def clean(directory: Path) -> None:
    """End what a killed agent has left running."""
    for pid in running(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)
