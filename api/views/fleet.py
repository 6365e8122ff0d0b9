"""Releases, nodes and environments as the API shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from domain.freeze import Freeze
from domain.health import ailments, environment_healthy
from domain.manifest import Manifest
from domain.policy import EnvironmentPolicy
from domain.release import Kind
from domain.windows import NodeWindow
from domain.wire import NodeReport, Samples
from store.records import Quarantine, StoredEnvironment, StoredNode, StoredRelease


class ReleaseView(BaseModel):
    """A release; `size` in bytes, `signer` is the subject of the certificate that signed it."""

    module: str
    version: str
    digest: str
    tree: str
    kind: Kind
    size: int
    signer: str
    pushed_by: str
    pushed_at: datetime
    manifest: Manifest

    @classmethod
    def of(cls, stored: StoredRelease) -> Self:
        """From the store's row."""
        return cls(
            **stored.ref.model_dump(),
            kind=stored.kind,
            size=stored.size,
            signer=stored.signer,
            pushed_by=stored.pushed_by,
            pushed_at=stored.pushed_at,
            manifest=stored.manifest,
        )


class FleetNode(BaseModel):
    """A node with what it last reported; `problems` is empty when it is healthy.

    `quarantine` says why rollouts leave it alone; `due_since` is set while it may lack what is current.
    """

    name: str
    environment: str
    address: str
    labels: dict[str, str]
    healthy: bool
    problems: tuple[str, ...]
    registered_at: datetime
    last_seen: datetime | None
    report: NodeReport | None
    quarantine: Quarantine | None
    due_since: datetime | None

    @classmethod
    def of(cls, stored: StoredNode) -> Self:
        """From the store's row."""
        problems = ailments(stored.report, stored.age)
        return cls(
            **stored.node.model_dump(),
            healthy=not problems,
            problems=problems,
            registered_at=stored.registered_at,
            last_seen=stored.last_seen,
            report=stored.report,
            quarantine=stored.quarantine,
            due_since=stored.due_since,
        )


class ClusterItem(BaseModel):
    """An environment in a list.

    `frozen` names the rollback that nobody has resolved yet, `freeze` says why nothing may start now.
    """

    environment: str
    healthy: bool
    nodes_total: int
    nodes_healthy: int
    frozen: str | None
    freeze: Freeze | None

    @classmethod
    def of(cls, environment: StoredEnvironment, nodes: Sequence[StoredNode], freeze: Freeze | None) -> Self:
        """From the store's row, its nodes, and what keeps things from starting now."""
        healthy = sum(not ailments(node.report, node.age) for node in nodes)
        return cls(
            environment=environment.name,
            healthy=environment_healthy(nodes=len(nodes), healthy=healthy),
            nodes_total=len(nodes),
            nodes_healthy=healthy,
            frozen=environment.frozen,
            freeze=freeze,
        )


class ClusterDetail(ClusterItem):
    """An environment with its policy and its nodes."""

    frozen_by: str | None
    policy: EnvironmentPolicy
    nodes: list[FleetNode]


class NodeMetrics(BaseModel):
    """The samples that a node has of its modules, read from its agent now."""

    node: str
    modules: list[Samples]


class ModuleWindow(BaseModel):
    """What a module did on one node within the window."""

    module: str
    version: str | None
    window: NodeWindow


class ClusterMetrics(BaseModel):
    """The same window on every node; `silent` names those whose agent did not answer."""

    environment: str
    seconds: float
    modules: list[ModuleWindow]
    silent: list[str]


def cluster(environment: StoredEnvironment, nodes: list[StoredNode], freeze: Freeze | None) -> ClusterDetail:
    """An environment put together with its nodes."""
    return ClusterDetail(
        **dict(ClusterItem.of(environment, nodes, freeze)),
        frozen_by=environment.frozen_by,
        policy=environment.policy,
        nodes=[FleetNode.of(node) for node in nodes],
    )
