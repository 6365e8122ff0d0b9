"""Environments with their nodes: health, policy, metrics, and an operator's word after a bad rollback."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.access import PolicySetter, Resolver, Viewer
from api.audit import done
from api.lanes import wake
from api.services import Hands
from api.views.fleet import ClusterDetail, ClusterItem, ClusterMetrics, ModuleWindow, cluster
from clients.agent import AgentClient
from domain.audit import AuditCategory
from domain.base import Strict
from domain.errors import NodeError, NodeUnreachable
from domain.names import ModuleName
from domain.node import Node
from domain.policy import EnvironmentPolicy
from domain.windows import reduce_samples
from domain.wire import ModuleReport
from store import audit, environments, freezes, lanes, nodes, requirements

router = APIRouter(prefix="/clusters", tags=["clusters"])

READS_AT_ONCE: Final = 64
READ_DEADLINE: Final = 5.0  # seconds per node


class Resolution(Strict):
    """What was found and done, so that the lane may go on."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class MetricsQuery(BaseModel):
    """Which metrics: of one module or of all, over the last so many seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: ModuleName | None = None
    seconds: float = Field(default=60, gt=0, le=3600)


class Clusters(BaseModel):
    """All environments of the tenant."""

    items: list[ClusterItem]


@router.get("")
async def list_clusters(caller: Viewer, hands: Hands) -> Clusters:
    """The environments, from development to production."""
    async with hands.database.transaction(caller.tenant) as session:
        known = await environments.of_tenant(session, caller.tenant)
        members = await nodes.by_environment(session, caller.tenant)
        frozen = await freezes.by_environment(session, caller.tenant)
    now = time.time()
    return Clusters(
        items=[
            ClusterItem.of(each, members.get(each.name, ()), freezes.state(frozen.get(each.name, ()), now))
            for each in known
        ]
    )


@router.get("/{environment}")
async def get_cluster(environment: str, caller: Viewer, hands: Hands) -> ClusterDetail:
    """One environment with its policy and nodes."""
    async with hands.database.transaction(caller.tenant) as session:
        stored = await environments.get(session, caller.tenant, environment)
        members = await nodes.stored_of_environment(session, caller.tenant, environment)
        freeze = await freezes.at(session, caller.tenant, environment, time.time())
    return cluster(stored, members, freeze)


@router.get("/{environment}/metrics")
async def cluster_metrics(
    environment: str, query: Annotated[MetricsQuery, Query()], caller: Viewer, hands: Hands
) -> ClusterMetrics:
    """What the modules did on every node in the last seconds, read from the agents now."""
    async with hands.database.transaction(caller.tenant) as session:
        await environments.get(session, caller.tenant, environment)
        members = await nodes.of_environment(session, caller.tenant, environment)
    slots = asyncio.Semaphore(READS_AT_ONCE)
    silent: list[str] = []

    async def read(node: Node) -> list[ModuleWindow]:
        async with slots:
            try:
                return await _windows(hands.agents.of(caller.tenant), node, query)
            except NodeError:
                silent.append(node.name)
                return []

    windows = await asyncio.gather(*(read(node) for node in members))
    if members and len(silent) == len(members):
        raise NodeUnreachable(f"no agent of {environment} answers")
    return ClusterMetrics(
        environment=environment,
        seconds=query.seconds,
        modules=[window for found in windows for window in found],
        silent=sorted(silent),
    )


async def _windows(agents: AgentClient, node: Node, query: MetricsQuery) -> list[ModuleWindow]:
    report = await agents.report(node.address, deadline=READ_DEADLINE)
    wanted = [module for module in report.modules if query.module in (None, module.module)]
    return [await _window(agents, node, module, query.seconds) for module in wanted]


async def _window(agents: AgentClient, node: Node, module: ModuleReport, seconds: float) -> ModuleWindow:
    version = module.current.version if module.current else None
    found = await agents.samples(node.address, module.module, since=0.0, deadline=READ_DEADLINE)
    window = reduce_samples(
        node.name, found.samples, version=version, since=found.now - seconds, until=found.now
    )
    return ModuleWindow(module=module.module, version=version, window=window)


@router.post("/{environment}/resolve", status_code=HTTPStatus.ACCEPTED)
async def resolve(environment: str, body: Resolution, caller: Resolver, hands: Hands) -> ClusterDetail:
    """Let a frozen lane go on, after a person has looked at its nodes."""
    async with hands.database.transaction(caller.tenant) as session:
        await lanes.resolve(session, caller.tenant, environment, caller.username, body.reason)
    signal = {"actor": caller.username, "reason": body.reason}
    await wake(hands.temporal, caller.tenant, environment, signal="resolve", body=signal)
    return await get_cluster(environment, caller, hands)


@router.put("/{environment}/policy")
async def set_policy(
    environment: str, body: EnvironmentPolicy, caller: PolicySetter, hands: Hands
) -> ClusterDetail:
    """Replace the policy; deployments that have their plan keep it."""
    async with hands.database.transaction(caller.tenant) as session:
        await requirements.check_policy(session, caller.tenant, environment, body)
        before = await environments.policy(session, caller.tenant, environment)
        await environments.set_policy(session, caller.tenant, environment, body)
        audit.note(
            session,
            done(
                caller,
                "policy.set",
                AuditCategory.ENVIRONMENT,
                "environment",
                environment,
                before=before.model_dump(mode="json"),
                after=body.model_dump(mode="json"),
            ),
        )
    return await get_cluster(environment, caller, hands)
