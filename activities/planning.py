"""Reading what the nodes run, and making the plan."""

from collections.abc import Mapping

from temporalio import activity
from typing_extensions import override

from activities.heartbeats import beating
from activities.orders import Planning
from activities.survey import Running, present_nodes, survey, wanted_nodes
from clients.agent import AgentClient
from domain.dependencies import Candidate, check
from domain.eligibility import check_gates
from domain.manifest import Manifest
from domain.messages import DeploymentInput, Prepared
from domain.names import NodeName
from domain.planner import LeftOut, make_plan
from domain.strategy import Undo
from domain.undo import undo_plan
from store import environments, groups, inheritance, nodes, quarantine, releases, rollouts
from store.database import Database


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
            everybody = await nodes.of_environment(session, request.tenant, request.environment)
            quarantined = await quarantine.of_environment(session, request.tenant, request.environment)
            people = await groups.people(session, request.tenant)
            taken = await inheritance.inherited(session, request.tenant, request.deployment)
        policy = policy.of_request(
            hotfix=wanted.hotfix, catch_up=wanted.catch_up, tested=release.manifest.tested_beside
        )
        about = wanted_nodes(wanted, everybody, quarantined)
        async with beating():
            found = await survey(self._agents.of(request.tenant), about, request.module)
        fleet = present_nodes(about, found, policy)
        await self._check_dependencies(request, release.manifest, found.running)
        prior = {
            name: taken.get(name, modules.get(request.module)) for name, modules in found.running.items()
        }
        where = {"tenant": request.tenant, "environment": request.environment}
        left_out = LeftOut(deferred=tuple(sorted(found.silent)), quarantined=quarantined)
        if isinstance(wanted.strategy, Undo):
            plan = undo_plan(
                **where,
                release=wanted.release,
                nodes=fleet,
                running=prior,
                policy=policy,
                left_out=left_out,
            )
        else:
            plan = make_plan(
                **where,
                release=wanted.release,
                nodes=fleet,
                running={name: ref.version if ref else None for name, ref in prior.items()},
                strategy=wanted.strategy or policy.strategy,
                policy=policy,
                manifest=release.manifest,
                left_out=left_out,
            )
        check_gates(plan.gates, people, authors=(request.requester,), unsigned_votes=plan.unsigned_votes)
        async with self._database.transaction(request.tenant) as session:
            fence = await rollouts.save_plan(session, request.tenant, request.deployment, plan, prior)
        return Prepared(plan=plan, fence=fence, ailing=tuple(sorted(found.ailing)))

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
