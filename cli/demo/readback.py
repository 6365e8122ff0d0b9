"""What the nodes themselves say they run."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from cli.client import ApiClient
from cli.demo.setting import ENVIRONMENT, MODULE
from cli.errors import CommandFailed
from domain.readback import mismatch
from domain.release import ReleaseRef
from domain.wire import ModuleReport

PATIENCE = 30.0  # seconds for every node's next report

Seen = TypeVar("Seen")


def endpoints(client: ApiClient) -> dict[str, str]:
    """The URL that each node's module answers on, once every node has reported one.

    Raises:
        CommandFailed: a node reports none in time.
    """

    def look() -> dict[str, str | None]:
        nodes = client.items("/nodes", environment=ENVIRONMENT)
        return {str(node["name"]): _endpoint(node) for node in nodes}

    found = _patiently(look, lambda seen: None in seen.values())
    silent = [name for name, address in found.items() if address is None]
    if silent:
        raise CommandFailed(f"no endpoint of {MODULE} is reported by {', '.join(silent)}")
    return {name: f"http://{address}/" for name, address in found.items()}


def verified(client: ApiClient, release: ReleaseRef, *, since: float) -> list[str]:
    """Nodes whose read-back, made after `since` (seconds since the epoch), proves that the release runs."""
    asked = datetime.fromtimestamp(since, tz=UTC)

    def look() -> tuple[list[str], int]:
        nodes = list(client.items("/nodes", environment=ENVIRONMENT))
        return [str(node["name"]) for node in nodes if _proves(node, release, asked)], len(nodes)

    return _patiently(look, lambda seen: len(seen[0]) < seen[1])[0]


def _patiently(look: Callable[[], Seen], unfinished: Callable[[Seen], bool]) -> Seen:
    """Look until nothing is missing or PATIENCE has run out; what was seen last."""
    retrying = Retrying(
        retry=retry_if_result(unfinished),
        stop=stop_after_delay(PATIENCE),
        wait=wait_fixed(0.5),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    return retrying(look)


def _endpoint(node: dict[str, Any]) -> str | None:
    report = _module(node)
    return report.endpoints.get("http") if report is not None else None


def _proves(node: dict[str, Any], release: ReleaseRef, asked: datetime) -> bool:
    report = _module(node)
    if report is None or node["last_seen"] is None or datetime.fromisoformat(node["last_seen"]) <= asked:
        return False
    return mismatch(report, release) is None


def _module(node: dict[str, Any]) -> ModuleReport | None:
    modules = (node.get("report") or {}).get("modules", [])
    return next((ModuleReport.model_validate(each) for each in modules if each["module"] == MODULE), None)
