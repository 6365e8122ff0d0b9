"""What tests of every room may ask for: a real PostgreSQL, a real Temporal server, skipped time."""

import contextlib
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import hypothesis
import psycopg
import pytest
import pytest_asyncio
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from domain.names import SEARCH_ATTRIBUTES
from runtime.embedded import postgres
from runtime.temporal import ensure_search_attributes, server_program

# How long an example takes says something about the machine.
hypothesis.settings.register_profile("hotswap", deadline=None)
hypothesis.settings.load_profile("hotswap")

OWNER = postgres.Login(name="hotswap_owner", password=uuid.uuid4().hex)
APPLICATION = postgres.Login(name="hotswap", password=uuid.uuid4().hex)


class PostgresServer:
    """A PostgreSQL that lives as long as the test session."""

    def __init__(self, directory: postgres.PostgresDirectory, port: int) -> None:
        self.directory = directory
        self.port = port

    @property
    def superuser_url(self) -> str:
        return self.directory.url(self.port)

    def new_database(self) -> str:
        """The URL of a new empty database, as the application, which owns nothing.

        `as_owner` makes of it the URL for migrations.
        """
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.directory.ensure_database(self.port, owner=OWNER, application=APPLICATION, database=name)
        return postgres.database_url(self.port, APPLICATION, name)


def as_owner(url: str) -> str:
    """The same database, as the role that owns its tables."""
    return url.replace(f"{APPLICATION.name}:{APPLICATION.password}@", f"{OWNER.name}:{OWNER.password}@", 1)


def wait_for_postgres(directory: postgres.PostgresDirectory, port: int) -> None:
    """Until a server that was just started takes connections."""
    patiently = Retrying(
        stop=stop_after_delay(30),
        wait=wait_fixed(0.05),
        retry=retry_if_exception_type(psycopg.OperationalError),
        reraise=True,
    )
    patiently(directory.connect, port).close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    home = tmp_path_factory.mktemp("postgres")
    directory = postgres.prepare(home, uuid.uuid4().hex)
    port = free_port()
    # Durability costs time and protects nothing here.
    fast = [f"--{name}=off" for name in ("fsync", "synchronous_commit", "full_page_writes")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            directory.command(port, *fast), stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_postgres(directory, port)
        yield PostgresServer(directory, port)
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Call it for the URL of a fresh, empty database (no migrations applied)."""
    return postgres_server.new_database


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """One empty database that the whole session shares."""
    return postgres_server.new_database()


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> str:
    """A fresh, empty database for one test."""
    return postgres_server.new_database()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """A real Temporal server with our search attributes; `.client` speaks pydantic."""
    keys = {"Keyword": SearchAttributeKey.for_keyword, "Int": SearchAttributeKey.for_int}
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=[keys[kind](name) for name, kind in SEARCH_ATTRIBUTES.items()],
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
    ) as environment:
        yield environment


@asynccontextmanager
async def time_skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's test server: timers pass at once. It lists no workflows and has no schedules."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(server_program("temporal-test-server")),
        data_converter=pydantic_data_converter,
    ) as environment:
        await ensure_search_attributes(environment.client)
        yield environment


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """One for each module: an activity that a failed test leaves under way keeps its server's time."""
    async with time_skipping_server() as environment:
        yield environment


@pytest.fixture
def no_hotswap_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test sees no HOTSWAP_* variable of the shell it was started from."""
    for name in [name for name in os.environ if name.startswith("HOTSWAP_")]:
        monkeypatch.delenv(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
