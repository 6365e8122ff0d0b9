import importlib
import subprocess
import sys
import textwrap
from datetime import timedelta

import pytest
from temporalio.worker import Worker

from runtime import temporal as joining
from runtime.settings import WorkerSettings


@pytest.fixture
def settings(tmp_path, temporal, no_hotswap_environment):
    paths = dict.fromkeys(("tls_ca", "tls_certificate", "tls_key", "jwt_public_key_file"), tmp_path / "pem")
    (tmp_path / "pem").write_text("")
    return WorkerSettings(
        profile="development",
        database_url="postgresql+psycopg://h@127.0.0.1/h",
        bundle_directory=tmp_path,
        trust_directory=tmp_path,
        temporal_address=temporal.client.service_client.config.target_host,
        **paths,
    )


async def test_connect_speaks_to_the_server_and_says_who_it_is(settings):
    client = await joining.connect(settings, identity="test@here")
    assert client.identity == "test@here"
    assert await client.service_client.check_health()


@pytest.fixture
def workflow_module(tmp_path, monkeypatch):
    """A workflow whose module imports what the test says."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, line: str):
        source = f"""
        from temporalio import workflow
        {line}

        @workflow.defn
        class Example:
            @workflow.run
            async def run(self) -> None: ...
        """
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return importlib.import_module(name).Example

    return make


def prepare(client, workflow):
    Worker(client, task_queue="q", workflows=[workflow], workflow_runner=joining.workflow_runner())


async def test_a_module_that_was_forgotten_stops_the_workers_start(temporal, workflow_module):
    with pytest.raises(RuntimeError) as refused:
        prepare(temporal.client, workflow_module("forgetful", "import rich"))
    assert "rich" in str(refused.value.__cause__)


async def test_our_rooms_pass_whole(temporal, workflow_module):
    prepare(temporal.client, workflow_module("careful", "import domain.plan, runtime.settings, store"))


def test_workers_end_gracefully_and_fail_over_quickly(temporal):
    tuning = joining.worker_tuning()
    assert tuning["graceful_shutdown_timeout"] == timedelta(seconds=30)
    assert tuning["sticky_queue_schedule_to_start_timeout"] == timedelta(seconds=3)


def test_a_short_lived_client_leaves_without_a_crash(temporal):
    address = temporal.client.service_client.config.target_host
    program = f"""
    import asyncio
    from temporalio.client import Client
    from runtime.temporal import leave_cleanly

    async def main():
        async with leave_cleanly():
            client = await Client.connect({address!r})
            await client.count_workflows()

    asyncio.run(main())
    """
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
