"""Reading what the nodes run, and making the plan."""

import asyncio
from collections.abc import Mapping, Sequence

from temporalio import activity
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Planning
from clients.agent import AgentClient
from domain.dependencies import Candidate, check
from domain.eligibility import check_gates
from domain.errors import NodeUnreachable, PlanImpossible
from domain.manifest import Manifest
from domain.messages import DeploymentInput, Prepared
from domain.names import ModuleName, NodeName
from domain.node import Node
from domain.planner import make_plan
from domain.release import ReleaseRef
from store import environments, groups, inheritance, nodes, releases, rollouts
from store.database import Database

Running = dict[ModuleName, ReleaseRef]  # what one node runs

READS_AT_ONCE = 64
READ_DEADLINE = 30.0  # seconds per node, retries included: an agent that restarts is back by then


class FleetPlanning(Planning):
    """Nothing moves here: nodes are read, the plan is compiled and stored with each node's prior release."""

    def __init__(self, database: Database, agents: AgentClient) -> None:
        self._database = database
        self._agents = agents

    @activity.defn
    @override
    async def prepare(self, request: DeploymentInput) -> Prepared:
        async with self._database.transaction(request.tenant) as session:
            stored = await rollouts.stored_plan(session, request.tenant, request.deployment)
            if stored is not None:
                return stored
            wanted = await rollouts.request_of(session, request.tenant, request.deployment)
            release = await releases.by_ref(session, request.tenant, wanted.release)
            policy = await environments.policy(session, request.tenant, request.environment)
            fleet = await nodes.of_environment(session, request.tenant, request.environment)
            people = await groups.people(session, request.tenant)
            taken = await inheritance.inherited(session, request.tenant, request.deployment)
        policy = policy.of_request(hotfix=wanted.hotfix)
        async with beating():
            running = await self._running(fleet)
        await self._check_dependencies(request, release.manifest, running)
        prior = {name: taken.get(name, modules.get(request.module)) for name, modules in running.items()}
        plan = make_plan(
            tenant=request.tenant,
            environment=request.environment,
            release=wanted.release,
            nodes=fleet,
            running={name: ref.version if ref else None for name, ref in prior.items()},
            strategy=wanted.strategy or policy.strategy,
            policy=policy,
            manifest=release.manifest,
        )
        check_gates(plan.gates, people, authors=(request.requester,), unsigned_votes=plan.unsigned_votes)
        async with self._database.transaction(request.tenant) as session:
            fence = await rollouts.save_plan(session, request.tenant, request.deployment, plan, prior)
        return Prepared(plan=plan, fence=fence)

    async def _running(self, fleet: Sequence[Node]) -> dict[NodeName, Running]:
        """The release of each module that each node runs, read from the node: what a rollback returns to."""
        slots = asyncio.Semaphore(READS_AT_ONCE)
        silent: list[str] = []

        async def read(node: Node) -> tuple[NodeName, Running]:
            async with slots:
                try:
                    report = await self._agents.report(node.address, deadline=READ_DEADLINE)
                except NodeUnreachable:
                    silent.append(node.name)
                    return node.name, {}
            return node.name, {each.module: each.current for each in report.modules if each.current}

        running = dict(await asyncio.gather(*(read(node) for node in fleet)))
        if silent:
            names = ", ".join(sorted(silent)[:20])
            raise PlanImpossible(f"these nodes do not answer: {names}", field="environment")
        return running

    async def _check_dependencies(
        self, request: DeploymentInput, manifest: Manifest, running: Mapping[NodeName, Running]
    ) -> None:
        installed = {
            node: {module: ref.version for module, ref in modules.items()}
            for node, modules in running.items()
        }
        pairs = {pair for modules in installed.values() for pair in modules.items()}
        async with self._database.transaction(request.tenant) as session:
            known = await releases.needs_of(session, request.tenant, pairs)
        candidate = Candidate(module=request.module, version=request.version, needs=manifest.dependencies)
        check(candidate, installed, known)
