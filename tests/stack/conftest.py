"""One embedded stack for all tests here: brought up as `hotswap up` does it, on ports of its own."""

import asyncio
from collections.abc import Iterator

import pytest

from cli.supervisor import start_detached
from runtime.embedded.stack import end, open_directory
from tests.stack.running import RunningStack, choose_ports

NODES = 10


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = open_directory(tmp_path_factory.mktemp("hotswap") / ".hotswap")
    choose_ports(directory.choices, nodes=NODES)
    try:
        start_detached(directory)
        running = RunningStack(directory)
        running.push_greeter()
        yield running
        running.close()
    finally:
        asyncio.run(end(directory))
