"""Names and ids, as types, and the ids of workflows."""

from typing import Annotated

from pydantic import StringConstraints

_SLUG = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# semver.org's grammar, version 2.0.0 (its published regular expression).
SEMVER = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-((0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?$"
)

TenantId = Annotated[str, StringConstraints(pattern=_SLUG)]
EnvironmentName = Annotated[str, StringConstraints(pattern=_SLUG)]
NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$")]
Version = Annotated[str, StringConstraints(pattern=SEMVER, max_length=128)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Username = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]{1,62}[a-z0-9]$")]
GateName = Annotated[str, StringConstraints(pattern=_SLUG)]
GroupName = Annotated[str, StringConstraints(pattern=_SLUG)]

# The columns of Temporal's list view; their types are Temporal's.
SEARCH_ATTRIBUTES = {
    "Tenant": "Keyword",
    "Environment": "Keyword",
    "Module": "Keyword",
    "FromVersion": "Keyword",
    "ToVersion": "Keyword",
    "Phase": "Keyword",
    "Wave": "Int",
    "WaitingFor": "Keyword",
    "Verdict": "Keyword",
}

SUPERSEDE = "supersede"  # the signal that asks a deployment to make room for another
CONTROL_QUEUE = "hotswap-control"
NODE_QUEUE = "hotswap-nodes"
HOOK_QUEUE = "hotswap-hooks"


def tenant_workflow_id(tenant: str) -> str:
    """The workflow id of a tenant's making."""
    return f"tenant-{tenant}"


def tenant_removal_id(tenant: str) -> str:
    """The workflow id of a tenant's being taken away."""
    return f"tenant-removal-{tenant}"


def lane_id(tenant: str, environment: str) -> str:
    """The workflow id of the queue in front of one tenant's environment."""
    return f"lane-{tenant}-{environment}"


def deployment_workflow_id(deployment: str) -> str:
    """The workflow id of one deployment."""
    return f"deployment-{deployment}"


def approval_id(deployment: str, gate: str) -> str:
    """The id of one gate of one deployment: an object of the API and a workflow id at once."""
    return f"approval-{deployment}-{gate}"


def amendment_gate_id(deployment: str, number: int) -> str:
    """The id of the approval of a deployment's amendment; no gate of a plan can have it."""
    return approval_id(deployment, f"amendment.{number}")


def promotion_workflow_id(promotion: str) -> str:
    """The workflow id of one release's way through the environments."""
    return f"release-{promotion}"


def analysis_id(deployment: str, wave: int) -> str:
    """The workflow id of the judge's run over one wave."""
    return f"analysis-{deployment}-{wave}"


def background_id(deployment: str) -> str:
    """The workflow id of the analysis that runs beside a deployment's waves."""
    return f"analysis-{deployment}-background"


def guard_id(deployment: str) -> str:
    """The workflow id of the guard that watches a completed deployment."""
    return f"guard-{deployment}"


def rollback_id(deployment: str) -> str:
    """The workflow id of the rollback that belongs to a deployment."""
    return f"rollback-{deployment}"
