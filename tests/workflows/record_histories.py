"""Records the histories that the replay test holds the workflows against: `make histories`.

Run it after a deliberate change of control flow, together with the `workflow.patched` that lets rollouts
already under way go on; keep the histories of earlier versions that may still be running. Each is of a
workflow that has ended: one that still waits would prove nothing about what comes after the wait.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.supervision import TemporalSupervision
from domain.amendment import AmendmentState
from domain.analysis import Doubt, Outcome
from domain.approval import ApprovalInput, Subject
from domain.arrival import SupersedeMode
from domain.attribution import IllBudget
from domain.conditions.measurement import Measurement
from domain.conditions.metric import ConditionMetric, MetricPhase
from domain.events import EventKind
from domain.gate_rule import GateRule, SubjectKind
from domain.guard import Against, GuardRule
from domain.measuring import Measured
from domain.messages import LaneInput, QueuedDeployment
from domain.names import (
    CONTROL_QUEUE,
    HOOK_QUEUE,
    NODE_QUEUE,
    SEARCH_ATTRIBUTES,
    amendment_gate_id,
    analysis_id,
    approval_id,
    deployment_workflow_id,
    guard_id,
    lane_id,
    rollback_id,
)
from domain.policy import AnalysisRule, EnvironmentPolicy, FailureBudget
from domain.providers import ConditionCheck, WebProvider
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling
from runtime.temporal import server_program, workflow_runner
from tests.workflows import record_promotions
from tests.workflows.tenants import record_tenants
from tests.workflows.world import World
from workflows import ALL_WORKFLOWS
from workflows.approval import ApprovalWorkflow
from workflows.lane import LaneWorkflow

HISTORIES = Path(__file__).parent.parent / "histories"
ROOT = str(Path(__file__).parent.parent.parent)
QUICK = AnalysisRule(duration=0.6, interval=0.2, warm_up=0.1, extensions=1)
GATED = EnvironmentPolicy(gates=(GateRule(name="promotion"),), analysis=QUICK)
LISTED = Custom.model_validate(
    {
        "kind": "custom",
        "waves": [1, "rest"],
        "steps": [
            *({"step": step, "wave": 1} for step in ("stage", "activate", "verify", "analyze")),
            {"step": "pause"},
            {"step": "pause", "seconds": 0.2},
            *({"step": step, "wave": 2} for step in ("stage", "start", "smoke", "switch", "verify")),
            {"step": "keep", "wave": 2, "seconds": 0.2},
            {"step": "retire", "wave": 2},
        ],
    }
)
IDENTITY = "recorder"
GUARD_ENDS = (EventKind.GUARD_CLOSED, EventKind.GUARD_BREACHED)


async def save(client: Client, workflow_id: str, case: str) -> None:
    """Write one history; nothing of the machine that recorded it stays in it."""
    handle = client.get_workflow_handle(workflow_id)
    kind = (await handle.describe()).workflow_type
    text = (await handle.fetch_history()).to_json().replace(ROOT, ".")
    path = HISTORIES / kind / f"{case}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    sys.stdout.write(f"{kind}/{case}\n")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def lane(client: Client, case: str, world: World, *names: str) -> AsyncIterator[None]:
    """Submit the deployments `names` to a lane of their own, run the block, wait for their ends."""
    world.queue = [
        QueuedDeployment(
            deployment=name, requester="ana", module="greeter", version="2.0.0", strategy=world.strategy.kind
        )
        for name in names
    ]
    everything = [*world.activities, TemporalSupervision(client).await_end]
    control = Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=ALL_WORKFLOWS,
        activities=everything,
        workflow_runner=workflow_runner(),
        identity=IDENTITY,
    )
    nodes = Worker(client, task_queue=NODE_QUEUE, activities=everything, identity=IDENTITY)
    hooks = Worker(client, task_queue=HOOK_QUEUE, activities=[world.call_hook], identity=IDENTITY)
    async with control, nodes, hooks:
        handle = await client.start_workflow(
            LaneWorkflow.run,
            LaneInput(tenant="acme", environment=case),
            id=lane_id("acme", case),
            task_queue=CONTROL_QUEUE,
            start_signal="submit",
            start_signal_args=[{"deployment": names[0]}],
        )
        yield
        await until(lambda: set(names) <= ended(world))
        looks = world.lane_looks
        await handle.signal("submit", {})
        await until(lambda: world.lane_looks > looks)
        await handle.terminate("recorded")
        await save(client, handle.id, case)


def ended(world: World) -> set[str]:
    """The deployments that have ended."""
    return {entry.deployment for entry in world.progress if entry.phase is not None and entry.phase.terminal}


async def vote(client: Client, world: World, deployment: str, decision: str) -> None:
    await until(lambda: world.polls)
    gate = approval_id(deployment, "promotion")
    token = f"bob:approver:{gate}:{world.polls[-1].poll.plan}:{decision}:1"
    gate_handle = client.get_workflow_handle(gate)
    await gate_handle.signal("approve", {"approver": "mallory", "token": "forged"})
    await gate_handle.signal(decision, {"approver": "bob", "token": token})


MANAGERS = {"required": 1, "groups": [{"group": "managers"}], "expires_after": 600}
ESCALATING = {"name": "board", "expires_after": 1, "on_expiry": "escalate", "escalation": MANAGERS}
FIRST, CHANGED = "a" * 64, "b" * 64
TOLD_ONLY = ("after-deployment", "before-rollback", "after-rollback")


async def people(client: Client) -> None:
    """A request that expires, is escalated, changed, and approved by somebody's delegate."""
    world, gate = World(), approval_id("r-schema", "board")
    request = ApprovalInput(
        tenant="acme",
        environment="production",
        gate=gate,
        rule=GateRule.model_validate({**ESCALATING, "required": 2}),
        subject=Subject(kind=SubjectKind.SCHEMA, reference="orders", digest=FIRST, words="drop a column"),
        requester="ana",
    )
    said = {"role": "approver", "gate": gate, "decision": "approve"}
    given = {"id": "d1", "kind": "link", "delegator": "mia", "delegate": "zoe", "plan": CHANGED, **said}
    cast = {"subject": "zoe", "on_behalf_of": "mia", "delegation": "d1", "plan": CHANGED, "token_id": "t2"}
    managers = {"groups": ["managers"]}
    control = Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=ALL_WORKFLOWS,
        activities=world.activities,
        workflow_runner=workflow_runner(),
        identity=IDENTITY,
    )
    async with control:
        handle = await client.start_workflow(ApprovalWorkflow.run, request, id=gate, task_queue=CONTROL_QUEUE)
        early = json.dumps({"subject": "bob", "plan": FIRST, "token_id": "t1", **said})
        await handle.signal("approve", {"approver": "bob", "token": early})
        await until(lambda: EventKind.GATE_ESCALATED in [entry.event for entry in world.entries])
        await handle.signal("amended", {"digest": CHANGED, "actor": "cyd"})
        await handle.signal("delegate", {"token": json.dumps({**given, **managers})})
        await handle.signal("approve", {"token": json.dumps({**cast, **managers, **said})})
        await handle.result()
    await save(client, gate, "escalated-amended-delegated")


async def hooked(client: Client) -> None:
    """Every point of a deployment that turns back."""
    points = ("before-deployment", "before-wave", "after-wave", *TOLD_ONLY)
    call = {"kind": "http", "url": "https://hooks.example.com/"}
    hooks = [
        {"name": "h", "at": at, "call": call, "on_failure": "ignore" if at in TOLD_ONLY else "stop"}
        for at in points
    ]
    hooks[0]["polled"] = True
    policy = EnvironmentPolicy.model_validate({"analysis": QUICK.model_dump(), "hooks": hooks})
    world = World(policy=policy, verdict=lambda look: Outcome.FAIL)
    async with lane(client, "hooked", world, "d-hooked"):
        await until(lambda: world.progress)
        await client.get_workflow_handle(deployment_workflow_id("d-hooked")).result()
    await save(client, deployment_workflow_id("d-hooked"), "hooked")
    await save(client, rollback_id("d-hooked"), "hooked")


async def record(client: Client) -> None:
    """Every strategy, forwards and back."""
    world = World(policy=GATED, strategy=Canary(bake=0.2))
    async with lane(client, "canary", world, "d-canary"):
        await vote(client, world, "d-canary", "approve")
    await save(client, deployment_workflow_id("d-canary"), "canary")
    await save(client, approval_id("d-canary", "promotion"), "approved")
    await save(client, analysis_id("d-canary", 1), "pass")

    world = World(policy=GATED, verdict=lambda look: Outcome.FAIL)
    async with lane(client, "canary-fails", world, "d-fails"):
        pass
    await save(client, deployment_workflow_id("d-fails"), "canary-fails")
    await save(client, rollback_id("d-fails"), "verified")
    await save(client, analysis_id("d-fails", 1), "fail")

    world = World(policy=GATED)
    async with lane(client, "rejected", world, "d-rejected"):
        await vote(client, world, "d-rejected", "reject")
    await save(client, deployment_workflow_id("d-rejected"), "rejected")
    await save(client, approval_id("d-rejected", "promotion"), "rejected")

    world = World(policy=EnvironmentPolicy(analysis=QUICK), strategy=Direct())
    async with lane(client, "two-direct", world, "d-first", "d-second"):
        pass
    await save(client, deployment_workflow_id("d-first"), "direct")

    world = World(policy=EnvironmentPolicy(), strategy=Rolling(batch=4, max_unavailable=2, bake=0.2))
    async with lane(client, "rolling", world, "d-rolling"):
        pass
    await save(client, deployment_workflow_id("d-rolling"), "rolling")

    world = World(
        policy=EnvironmentPolicy(analysis=QUICK, unsigned_votes=True),
        strategy=Canary(bake=0.2),
        verdict=lambda look: Outcome.INCONCLUSIVE if look.analysis.wave == 1 else Outcome.PASS,
    )
    async with lane(client, "held", world, "d-held"):
        await until(lambda: "holding" in world.phases)
        handle = client.get_workflow_handle(deployment_workflow_id("d-held"))
        await handle.signal("promte", {})
        await handle.signal("promote", {"actor": "ana"})
    await save(client, deployment_workflow_id("d-held"), "held-then-promoted")
    await save(client, analysis_id("d-held", 1), "inconclusive")

    await record_freeze(client)
    await record_succession(client)

    world = World(policy=EnvironmentPolicy(analysis=QUICK), blocked=asyncio.Event())
    async with lane(client, "terminated", world, "d-terminated"):
        await until(lambda: world.starts)
        await client.get_workflow_handle(deployment_workflow_id("d-terminated")).terminate("from the console")


async def record_freeze(client: Client) -> None:
    """A rollout that a person freezes on its way."""
    world = World(policy=EnvironmentPolicy(), strategy=Rolling(batch=5, max_unavailable=2, bake=2))
    frozen = client.get_workflow_handle(lane_id("acme", "frozen"))
    async with lane(client, "frozen", world, "d-frozen"):
        await until(lambda: "baking" in world.phases)
        await frozen.signal("freeze", {"actor": "ana", "reason": "an incident"})
        await until(lambda: "frozen" in world.phases)
        await frozen.signal("thaw", {"actor": "mallory"})
        await frozen.signal("thaw", {"token": "thaw:bob:approver:frozen:1"})
    await save(client, deployment_workflow_id("d-frozen"), "thaw-heard")


async def record_pause(client: Client) -> None:
    """A person pauses a rollout while it bakes: it holds before it reads the nodes back."""
    policy = EnvironmentPolicy(unsigned_votes=True)
    world = World(policy=policy, strategy=Rolling(batch=10, max_unavailable=10, bake=2))
    async with lane(client, "paused", world, "d-paused"):
        await until(lambda: "baking" in world.phases)
        handle = client.get_workflow_handle(deployment_workflow_id("d-paused"))
        await handle.signal("pause", {"actor": "ana"})
        await until(lambda: "paused" in world.phases)
        await handle.signal("resume", {"actor": "ana"})
    await save(client, deployment_workflow_id("d-paused"), "paused-amid-a-wave")


async def record_beside(client: Client) -> None:
    """Two releases side by side, and a list of steps."""
    world = World(policy=GATED, strategy=BlueGreen(watch=0.2, analyze=True, keep=0.2))
    async with lane(client, "blue-green", world, "d-green"):
        await vote(client, world, "d-green", "approve")
    await save(client, deployment_workflow_id("d-green"), "blue-green")
    await save(client, analysis_id("d-green", 1), "health")

    world = World(policy=EnvironmentPolicy(analysis=QUICK, unsigned_votes=True), strategy=LISTED)
    async with lane(client, "custom", world, "d-custom"):
        await until(lambda: "paused" in world.phases)
        handle = client.get_workflow_handle(deployment_workflow_id("d-custom"))
        await handle.signal("resume", {"actor": "ana"})
    await save(client, deployment_workflow_id("d-custom"), "custom")

    world = World(policy=GATED, strategy=BlueGreen(watch=0.2, keep=0.2))
    async with lane(client, "blue-green-rejected", world, "d-no-green"):
        await vote(client, world, "d-no-green", "reject")
    await save(client, deployment_workflow_id("d-no-green"), "blue-green-rejected")


async def record_losses(client: Client) -> None:
    """A node is lost to the release within the budget, one is sick, a third one's hook fails."""
    codes = {"node-02": "module-not-ready", "node-03": "disk-full", "node-04": "hook-failed"}
    policy = EnvironmentPolicy(failures=FailureBudget(share=0.2), ill=IllBudget(share=0.2))
    world = World(
        policy=policy,
        strategy=Direct(),
        codes=True,
        refuses=lambda action, node: codes.get(node) if action == "activate" else None,
    )
    async with lane(client, "losses", world, "d-losses"):
        pass
    await save(client, deployment_workflow_id("d-losses"), "losses-within-the-budgets")


async def record_succession(client: Client) -> None:
    """Two rollouts that make room for another: one is taken back, one stops where it is."""
    for mode in SupersedeMode:
        first, second = f"d-{mode}", f"d-{mode}-next"
        world = World(policy=EnvironmentPolicy(), strategy=Rolling(batch=5, max_unavailable=2, bake=2))
        async with lane(client, f"superseded-{mode}", world, first):
            await until(lambda world=world: "baking" in world.phases)
            world.queue.append(
                QueuedDeployment(
                    deployment=second,
                    requester="ana",
                    module="greeter",
                    version="3.0.0",
                    strategy="rolling",
                    supersedes=first,
                    supersede_mode=mode,
                )
            )
            handle = client.get_workflow_handle(lane_id("acme", f"superseded-{mode}"))
            await handle.signal("submit", {"deployment": second})
            await until(lambda world=world, second=second: second in ended(world))
        await save(client, deployment_workflow_id(first), f"superseded-{mode}")
        await save(client, deployment_workflow_id(second), f"after-{mode}")


async def record_fresh(client: Client) -> None:
    """Restarts for a fresh baseline, one of which fails."""
    policy = EnvironmentPolicy(analysis=QUICK.model_copy(update={"against": "fresh"}))
    failed: list[str] = []

    def refuses(action: str, node: str) -> str | None:
        if action != "renew" or failed not in ([], [node]):
            return None
        failed[:] = [node]
        return "does not start"

    world = World(policy=policy, strategy=Canary(shares=(30, 100), bake=0.2), refuses=refuses)
    async with lane(client, "fresh-baseline", world, "d-fresh"):
        pass
    await save(client, deployment_workflow_id("d-fresh"), "fresh-baseline")


async def record_outage(client: Client) -> None:
    """A provider that is down beyond the analysis's time, and comes back."""
    policy = EnvironmentPolicy(analysis=QUICK.model_copy(update={"outage": 60}))
    world = World(
        policy=policy,
        strategy=Canary(shares=(50, 100), bake=0.2),
        verdict=lambda look: Outcome.INCONCLUSIVE if look.number <= 5 else Outcome.PASS,
        doubt=lambda _look: Doubt.PROVIDER_DOWN,
    )
    async with lane(client, "outage", world, "d-outage"):
        pass
    await save(client, analysis_id("d-outage", 1), "outage")


async def record_checks(client: Client) -> None:
    """Checks that decide alone; one with a count, one that is measured to the end, after an outage."""
    metrics = (
        ConditionMetric(name="rate", interval=0.3, success_condition="result > 0"),
        ConditionMetric(name="once", success_condition="result > 0"),
    )
    web = WebProvider(url="http://127.0.0.1:1/")
    checks = tuple(ConditionCheck(metric=metric, provider=web) for metric in metrics)
    rule = QUICK.model_copy(update={"metrics": (), "conditions": checks, "duration": 1.0})
    world = World(policy=EnvironmentPolicy(analysis=rule), strategy=Canary(shares=(50, 100), bake=0.2))
    good = Measured(measurement=Measurement(phase=MetricPhase.SUCCESSFUL, value="1", finished=0.0))
    world.measured = lambda order: good if len(world.measurements) != 2 else Measured(outage="nobody there")
    async with lane(client, "checks-alone", world, "d-checks"):
        pass
    await save(client, analysis_id("d-checks", 1), "checks-alone")


async def record_guards(client: Client) -> None:
    """One that nothing happens to, one that takes its release back, one whose check is given up once."""
    rule = GuardRule(seconds=1, interval=0.2, window=1, misses=1)
    policy = EnvironmentPolicy(analysis=QUICK, guard=rule)
    for case, outcome in (("quiet", Outcome.PASS), ("breached", Outcome.FAIL)):
        world = World(policy=policy, strategy=Direct(), verdict=lambda _look, said=outcome: said)
        await record_guard(client, case, world)
    metric = ConditionMetric(name="rate", interval=0.2, success_condition="result > 0")
    check = ConditionCheck(metric=metric, provider=WebProvider(url="http://127.0.0.1:1/"), outages=0)
    checked = rule.model_copy(update={"conditions": (check,), "against": Against.RECORDED})
    world = World(policy=EnvironmentPolicy(analysis=QUICK, guard=checked), strategy=Direct())
    good = Measured(measurement=Measurement(phase=MetricPhase.SUCCESSFUL, value="1", finished=0.0))
    world.measured = lambda order: good if len(world.measurements) != 2 else Measured(outage="nobody there")
    await record_guard(client, "checked", world)


async def record_guard(client: Client, case: str, world: World) -> None:
    """One deployment with a guard, to the guard's end."""
    async with lane(client, f"guard-{case}", world, f"d-{case}"):
        await until(lambda: any(each.event in GUARD_ENDS for each in world.progress))
    await client.get_workflow_handle(guard_id(f"d-{case}")).result()
    await save(client, guard_id(f"d-{case}"), case)
    await save(client, deployment_workflow_id(f"d-{case}"), f"guard-{case}")


async def record_amendments(client: Client) -> None:
    """At an open gate: amended to be wider, which people approve, then narrower; the gate asks anew."""
    policy = EnvironmentPolicy(gates=(GateRule(name="promotion"),), analysis=QUICK)
    world = World(policy=policy, strategy=Rolling(batch=4, max_unavailable=2, bake=0.4))
    async with lane(client, "amended", world, "d-amended"):
        await until(lambda: world.polls)
        deployment = client.get_workflow_handle(deployment_workflow_id("d-amended"))
        for number, changes in enumerate(({"bake": 0.2}, {"wave_nodes": 1}), start=1):
            body = {"changes": changes, "token": f"dora:d-amended:amend:{number}"}
            await deployment.signal("amend", body)
            await until(lambda expected=number: any(each.number == expected for each in world.amendments))
            if number == 1:
                gate, digest = amendment_gate_id("d-amended", 1), world.amendments[0].plan.digest
                token = f"carl:approver:{gate}:{digest}:approve:1"
                await until(lambda asked=gate: any(each.request.gate == asked for each in world.polls))
                await client.get_workflow_handle(gate).signal("approve", {"token": token})
                await until(lambda: world.amendments[-1].state is AmendmentState.APPLIED)
        plan = world.amendments[-1].plan.digest
        await until(lambda: world.polls[-1].poll.plan == plan)
        await vote(client, world, "d-amended", "approve")
    await save(client, deployment_workflow_id("d-amended"), "amended")
    await save(client, amendment_gate_id("d-amended", 1), "of-an-amendment")


async def main() -> None:
    """A server in memory, all scenarios, one file each."""
    keys = {"Keyword": SearchAttributeKey.for_keyword, "Int": SearchAttributeKey.for_int}
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=[keys[kind](name) for name, kind in SEARCH_ATTRIBUTES.items()],
        data_converter=pydantic_data_converter,
        identity=IDENTITY,
    ) as env:
        await record(env.client)
        await people(env.client)
        await hooked(env.client)
        await record_beside(env.client)
        await record_pause(env.client)
        await record_losses(env.client)
        await record_tenants(env.client)
        await record_guards(env.client)
        await record_fresh(env.client)
        await record_amendments(env.client)
        await record_outage(env.client)
        await record_checks(env.client)
        await record_promotions.record(env.client, save)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # the SDK's core may crash a process that has talked to it and ends (sdk-python issue 300)
