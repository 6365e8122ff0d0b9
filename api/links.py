"""Where to go from an object: in the API and in the Temporal console."""

from typing import Final
from urllib.parse import quote

from domain.names import deployment_workflow_id, promotion_workflow_id
from runtime.settings import ApiSettings

PREFIX: Final = "/api/v1"


def deployment_path(deployment: str) -> str:
    """A deployment's place in the API."""
    return f"{PREFIX}/deployments/{deployment}"


def deployment_links(settings: ApiSettings, deployment: str) -> dict[str, str]:
    """Of a deployment: itself, its events, its page in the console."""
    own = deployment_path(deployment)
    return {
        "self": own,
        "events": f"{own}/events",
        "console": console(settings, deployment_workflow_id(deployment)),
    }


def approval_path(approval: str) -> str:
    """An approval's place in the API."""
    return f"{PREFIX}/approvals/{approval}"


def approval_links(settings: ApiSettings, approval: str, deployment: str | None) -> dict[str, str]:
    """Of a gate: itself, its deployment where it has one, its page in the console."""
    of_deployment = {"deployment": deployment_path(deployment)} if deployment else {}
    return {"self": approval_path(approval), **of_deployment, "console": console(settings, approval)}


def promotion_path(promotion: str) -> str:
    """A promotion's place in the API."""
    return f"{PREFIX}/promotions/{promotion}"


def promotion_links(settings: ApiSettings, promotion: str) -> dict[str, str]:
    """Of a promotion: itself, its events, its page in the console."""
    own = promotion_path(promotion)
    return {
        "self": own,
        "events": f"{own}/events",
        "console": console(settings, promotion_workflow_id(promotion)),
    }


def console(settings: ApiSettings, workflow_id: str) -> str:
    """A workflow's page in the Temporal console."""
    base = settings.temporal_ui_url.rstrip("/")
    return f"{base}/namespaces/{quote(settings.temporal_namespace)}/workflows/{quote(workflow_id, safe='')}"
