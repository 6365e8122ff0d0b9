"""Releases that turn bad after they were completed, and the guards that watch them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from cli.demo import build
from cli.errors import Refused
from domain.deployment import Phase
from domain.events import EventKind
from domain.guard import GuardRule
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling, Strategy
from tests.stack.running import DIRECT, GOOD, GREETER, PRODUCTION, RunningStack, until

TURNING, SITE, SITE_VERSION = "2.1.0", "site", "1.0.0"
STRATEGIES: dict[str, Strategy] = {
    "direct": Direct(),
    "rolling": Rolling(batch="50%", max_unavailable=3, bake=1),
    "canary": Canary(shares=(30, 100), bake=1),
    "blue-green": BlueGreen(watch=1, analyze=True, keep=1),
    "custom": Custom.model_validate(
        {
            "kind": "custom",
            "waves": ["30%", "rest"],
            "steps": [
                *({"step": step, "wave": 1} for step in ("stage", "start", "smoke", "switch", "verify")),
                {"step": "analyze", "wave": 1},
                {"step": "retire", "wave": 1},
                *({"step": step, "wave": 2} for step in ("stage", "activate", "verify")),
            ],
        }
    ),
}
_ANSWERS = "if round(self._lookups * self._failure_share) > self._failures:"
_TURNS = 'if os.path.exists(os.environ["HOTSWAP_DATA"] + "/turned") and self._lookups % 4 == 0:'


def push_releases(stack: RunningStack, directory: Path) -> None:
    """A greeter that fails one request in four once a file is there, and another module."""
    good = build.trees(stack.directory, (GOOD,))[GOOD]
    turning = Path(shutil.copytree(good, directory / "turning"))
    program, manifest = (turning / name for name in ("greeter.py", "hotswap.toml"))
    program.write_text(_replaced(program.read_text(), _ANSWERS, _TURNS))
    manifest.write_text(_replaced(manifest.read_text(), f'version = "{GOOD}"', f'version = "{TURNING}"'))
    stack.releases[TURNING] = stack.push(turning)
    site = directory / "site"
    site.mkdir()
    (site / "hotswap.toml").write_text(f'name = "{SITE}"\nversion = "{SITE_VERSION}"\nkind = "files"\n')
    (site / "index.txt").write_text("hello\n")
    stack.releases[SITE] = stack.push(site)


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def complete(stack: RunningStack, version: str, strategy: Strategy, guard: GuardRule) -> str:
    """Roll a release out under this guard, to its end; the deployment."""
    rule = AnalysisRule(judge="threshold", duration=4, interval=2, warm_up=1, on_inconclusive="rollback")
    policy = EnvironmentPolicy(analysis=rule, guard=guard)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", policy.model_dump(mode="json"))
    deployment = stack.order(version, strategy)
    stack.ended(deployment, Phase.COMPLETED)
    return deployment


def bring_site(stack: RunningStack) -> None:
    """Roll the other module out."""
    stack.ended(stack.order(SITE_VERSION, DIRECT, module=SITE), Phase.COMPLETED)


def _marks(stack: RunningStack) -> Iterator[Path]:
    for name in stack.nodes():
        yield stack.directory.node(name) / "data" / "modules" / GREETER / "data" / "turned"


def turn(stack: RunningStack) -> None:
    """From now on the release is bad, on every node."""
    for mark in _marks(stack):
        mark.touch()


def straighten(stack: RunningStack) -> None:
    for mark in _marks(stack):
        mark.unlink(missing_ok=True)


def taken_back(stack: RunningStack, deployment: str) -> dict[str, Any]:
    """The end of the deployment that the guard has queued."""
    record = f"{deployment}-guard"
    until(lambda: _known(stack, record))
    return stack.ended(record, Phase.ROLLED_BACK_VERIFIED)


def _known(stack: RunningStack, deployment: str) -> bool:
    try:
        stack.look(deployment)
    except Refused as refused:
        if refused.status != 404:
            raise
        return False
    return True


def fetched(stack: RunningStack, path: str) -> tuple[int, dict[str, str], bytes]:
    """What the API answers to a GET of the deployer: status, the headers that a browser heeds, body."""
    answer = httpx.get(
        f"{stack.deployer.target.url}{path}", headers=stack.deployer._authorization(), trust_env=False
    )
    heeded = ("content-type", "content-security-policy", "x-content-type-options")
    headers = {name: value for name, value in answer.headers.items() if name in heeded}
    return answer.status_code, headers, answer.content


def closing(stack: RunningStack, deployment: str) -> str:
    """What the guard says when it closes without a breach."""
    found: list[str] = []

    def closed() -> bool:
        assert not _known(stack, f"{deployment}-guard")
        cursor, more = None, True
        while more:
            page = stack.deployer.get("/events", kind=EventKind.GUARD_CLOSED, cursor=cursor)
            mine = [each for each in page["items"] if each["deployment"] == deployment]
            found.extend(each["payload"]["message"] for each in mine)
            cursor, more = page["cursor"], page["more"]
        return bool(found)

    until(closed)
    return found[0]
