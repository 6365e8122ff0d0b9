"""Hooks as activities: written down once, and asked on by the next worker."""

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.hooks import CalledHooks
from clients.hooks import HookCaller
from domain.events import EventKind
from domain.hook_settings import HookSettings
from domain.hooks import HookOrder, HookOutcome, HookResult, HookRule, HookRun
from domain.names import HOOK_QUEUE
from store import deployments, events, hooks
from store.database import Database
from tests.api.conftest import TENANT, new_namespace, new_world
from tests.clients.receiver import receiving
from workflows.options import hook_call

SETTINGS = HookSettings.model_validate({"networks": ["127.0.0.0/8"]})
DEPLOYMENT = "d-hooked"


@workflow.defn
class AsksOneHook:
    """What a deployment does at a polled hook, and nothing else."""

    @workflow.run
    async def run(self, order: HookOrder) -> HookOutcome:
        options = hook_call(timedelta(seconds=order.rule.longest))
        return await workflow.execute_activity("call_hook", order, result_type=HookOutcome, **options)


def worker(client: Client, database: Database, caller: HookCaller) -> Worker:
    return Worker(
        client,
        task_queue=HOOK_QUEUE,
        workflows=[AsksOneHook],
        activities=[CalledHooks(database, caller).call_hook],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def runs(database: Database) -> list[HookRun]:
    async with database.transaction(TENANT) as session:
        return await hooks.of_deployment(session, TENANT, DEPLOYMENT)


async def test_a_polled_hook_goes_on_over_the_restart_of_a_worker_and_is_written_down_once(
    temporal: WorkflowEnvironment, new_database: Callable[[], str], tmp_path: Path
) -> None:
    from aiohttp import web

    client = await new_namespace(temporal)
    open_now = asyncio.Event()

    async def answer(_number: int) -> web.Response:
        status = "CONTINUE" if open_now.is_set() else "WAIT"
        explained = {"status": status, "explanation": f"{status}: soak"}
        return web.Response(text=json.dumps(explained), content_type="application/json")

    async with new_world(tmp_path, new_database(), client) as world, receiving(answer) as receiver:
        database = world.services.database
        release = world.releases.files("1.0.0")
        assert (await world.push(release)).status_code == 201
        async with database.transaction(TENANT) as session:
            await deployments.insert(
                session,
                TENANT,
                deployment=DEPLOYMENT,
                environment="production",
                module=release.ref.module,
                version="1.0.0",
                requester="dora",
            )
        call = {"kind": "http", "url": receiver.url}
        rule = HookRule.model_validate(
            {"name": "soak", "at": "before-wave", "call": call, "polled": True, "poll_every": 1}
        )
        order = HookOrder(
            rule=rule,
            tenant=TENANT,
            environment="production",
            deployment=DEPLOYMENT,
            module=release.ref.module,
            version="1.0.0",
            wave=1,
        )
        async with HookCaller(SETTINGS) as caller:
            async with worker(client, database, caller):
                identity = f"hook-{secrets.token_hex(4)}"
                handle = await client.start_workflow(
                    AsksOneHook.run, order, id=identity, task_queue=HOOK_QUEUE
                )
                async with asyncio.timeout(20):
                    while not await runs(database):
                        await asyncio.sleep(0.05)
            before = len(receiver.got)
            open_now.set()
            async with worker(client, database, caller):
                outcome = await asyncio.wait_for(handle.result(), 60)
        assert (outcome.result, outcome.message) == (HookResult.DONE, "CONTINUE: soak")
        assert len(receiver.got) > before
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
        async with database.transaction(TENANT) as session:
            kinds = [event.kind for event in await events.after(session, TENANT, DEPLOYMENT, 0)]
        [run] = await runs(database)
        assert kinds[1:] == [EventKind.HOOK_WAITS, EventKind.HOOK_CALLED]
        assert (run.hook, run.wave, run.result) == ("soak", 1, HookResult.DONE)
        async with world.asks("vera") as vera:
            shown = (await vera.get(f"/deployments/{DEPLOYMENT}")).json()
        assert [(each["hook"], each["result"]) for each in shown["hooks"]] == [("soak", "done")]
