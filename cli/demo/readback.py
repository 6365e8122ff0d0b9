"""What the nodes themselves say they run."""

from datetime import UTC, datetime
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from cli.client import ApiClient
from cli.demo.setting import ENVIRONMENT, MODULE
from cli.errors import CommandFailed
from domain.readback import mismatch
from domain.release import ReleaseRef
from domain.wire import ModuleReport

PATIENCE = 30.0  # seconds for every node's next report


def endpoints(client: ApiClient) -> dict[str, str]:
    """The URL that each node's module answers on.

    Raises:
        CommandFailed: a node reports none.
    """
    found = {}
    for node in client.items("/nodes", environment=ENVIRONMENT):
        report = _module(node)
        if report is None or "http" not in report.endpoints:
            raise CommandFailed(f"{node['name']} reports no endpoint of {MODULE}")
        found[str(node["name"])] = f"http://{report.endpoints['http']}/"
    return found


def verified(client: ApiClient, release: ReleaseRef, *, since: float) -> list[str]:
    """Nodes whose read-back, made after `since` (seconds since the epoch), proves that the release runs."""
    asked = datetime.fromtimestamp(since, tz=UTC)

    def look() -> tuple[list[str], int]:
        nodes = list(client.items("/nodes", environment=ENVIRONMENT))
        return [str(node["name"]) for node in nodes if _proves(node, release, asked)], len(nodes)

    retrying = Retrying(
        retry=retry_if_result(lambda seen: len(seen[0]) < seen[1]),
        stop=stop_after_delay(PATIENCE),
        wait=wait_fixed(0.5),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else ([], 0),
    )
    return retrying(look)[0]


def _proves(node: dict[str, Any], release: ReleaseRef, asked: datetime) -> bool:
    report = _module(node)
    if report is None or node["last_seen"] is None or datetime.fromisoformat(node["last_seen"]) <= asked:
        return False
    return mismatch(report, release) is None


def _module(node: dict[str, Any]) -> ModuleReport | None:
    modules = (node.get("report") or {}).get("modules", [])
    return next((ModuleReport.model_validate(each) for each in modules if each["module"] == MODULE), None)
