"""The plan that a request would get now, from what the nodes last reported; what cannot be is refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from domain.dependencies import Candidate, check
from domain.eligibility import Person, check_gates
from domain.errors import PlanImpossible
from domain.names import EnvironmentName, ModuleName, NodeName, TenantId
from domain.plan import Plan
from domain.planner import LeftOut, make_plan
from domain.policy import EnvironmentPolicy
from domain.strategy import Rolling, Strategy
from store import deployments, groups, releases
from store.records import StoredNode, StoredRelease


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a deployment would find: `fleet` are the nodes that it would be about."""

    tenant: TenantId
    environment: EnvironmentName
    policy: EnvironmentPolicy
    release: StoredRelease
    fleet: Sequence[StoredNode]
    people: Sequence[Person]
    requester: str
    quarantined: tuple[NodeName, ...]

    def plan(self, asked: Strategy | None) -> Plan:
        """The plan for a strategy; None is the policy's.

        Raises:
            PlanImpossible: there can be none, or it has a gate that nobody can pass; `field` names why.
        """
        if isinstance(asked, Rolling) and isinstance(asked.batch, int) and asked.batch > len(self.fleet):
            raise PlanImpossible(
                f"a batch of {asked.batch} is larger than {self.environment}, which has"
                f" {len(self.fleet)} nodes",
                field="strategy.batch",
            )
        module = self.release.ref.module
        plan = make_plan(
            tenant=self.tenant,
            environment=self.environment,
            release=self.release.ref,
            nodes=[each.node for each in self.fleet],
            running={each.node.name: versions(each).get(module) for each in self.fleet},
            strategy=asked or self.policy.strategy,
            policy=self.policy,
            manifest=self.release.manifest,
            left_out=LeftOut(quarantined=self.quarantined),
        )
        check_gates(plan.gates, self.people, authors=(self.requester,), unsigned_votes=plan.unsigned_votes)
        return plan


async def look_ahead(
    session: AsyncSession,
    tenant: TenantId,
    environment: EnvironmentName,
    policy: EnvironmentPolicy,
    release: StoredRelease,
    *,
    everybody: Sequence[StoredNode],
    requester: str,
) -> Prospect:
    """What a deployment to these nodes, all of the environment, would find; its dependencies are there.

    Raises:
        PlanImpossible: one is not, or the release would break what other modules need.
    """
    fleet = [each for each in everybody if each.quarantine is None]
    installed = {each.node.name: versions(each) for each in fleet if each.report is not None}
    candidate = Candidate(
        module=release.ref.module, version=release.ref.version, needs=release.manifest.dependencies
    )
    pairs = {pair for modules in installed.values() for pair in modules.items()}
    others = [(module, version) for module, version in pairs if module != candidate.module]
    known = await releases.needs_of(session, tenant, others) if others else {}
    coming = await deployments.arriving(session, tenant, environment) if candidate.needs else []
    check(candidate, installed, known, coming)
    return Prospect(
        tenant=tenant,
        environment=environment,
        policy=policy,
        release=release,
        fleet=fleet,
        people=await groups.people(session, tenant),
        requester=requester,
        quarantined=tuple(each.node.name for each in everybody if each.quarantine is not None),
    )


def versions(node: StoredNode) -> dict[ModuleName, str]:
    """Module → the version that the node last reported to run."""
    modules = node.report.modules if node.report is not None else ()
    return {each.module: each.current.version for each in modules if each.current is not None}
