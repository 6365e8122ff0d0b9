"""One embedded stack for all tests here: brought up as `hotswap up` does it, on ports of its own."""

from collections.abc import Iterator

import pytest

from tests.stack.running import RunningStack, started

NODES = 10


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with started(tmp_path_factory.mktemp("hotswap"), nodes=NODES) as running:
        running.push_greeter()
        yield running
