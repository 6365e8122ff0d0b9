"""The sequential judge on real rollouts: `make bench-judge-live`.

Ten agents of an embedded stack serve real traffic. The same release under another version number must go out
(no false rollback), a slow and failing one must come back, each so many times. Every run is a deployment
through the API, judged by the sequential judge on what the agents measure. Results are added to
bench/raw/judge_live.json, so that the runs may be made in several sittings.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cli.demo import build
from cli.stack import start_detached
from domain.deployment import Phase
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from runtime.embedded.stack import end, open_directory
from tests.stack.running import BAD, GOOD, RunningStack, choose_ports, until

ROOT = Path(__file__).parent.parent
RAW = ROOT / "bench/raw/judge_live.json"
NODES, SETTLING = 10, 90.0  # seconds of history before the first rollout
STRATEGY = Canary(shares=(50, 100), bake=1)
RULE = AnalysisRule(duration=24, interval=4, warm_up=3, extensions=4, on_inconclusive="rollback")


def same_release_as(good: Path, version: str, destination: Path) -> Path:
    """The good release's tree with another version in its manifest."""
    shutil.copytree(good, destination)
    manifest = destination / "hotswap.toml"
    text = manifest.read_text()
    changed = text.replace(f'version = "{GOOD}"', f'version = "{version}"')
    if changed == text:
        raise ValueError(f"{manifest} does not name version {GOOD}")
    manifest.chmod(0o644)
    manifest.write_text(changed)
    return destination


def rollout(stack: RunningStack, version: str) -> dict[str, Any]:
    """One deployment to its end: what became of it, what the judge said, how long it took."""
    began = time.monotonic()
    deployment = stack.order(version, STRATEGY)
    seen = stack.wait(deployment, lambda each: Phase(each["phase"]).terminal, 300.0)
    verdict = seen["verdict"] or {}
    result = {
        "version": version,
        "phase": seen["phase"],
        "outcome": verdict.get("outcome"),
        "reason": verdict.get("reason", "")[:300],
        "looks": verdict.get("looks"),
        "judging_seconds": (verdict.get("looks") or 0) * RULE.interval,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result), flush=True)
    return result


def measure(stack: RunningStack, runs: int, kept: dict[str, list[dict[str, Any]]]) -> None:
    """So many harmless rollouts and so many bad ones, under traffic; each pair is kept as it is done."""
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=RULE)
    stack.install_greeter(GOOD)
    stack.admin.put("/clusters/production/policy", policy.model_dump(mode="json"))
    good = build.trees(stack.directory, (GOOD,))[GOOD]
    with stack.traffic():
        time.sleep(SETTLING)
        for _ in range(runs):
            version = f"2.{1 + len(kept['same'])}.0"
            tree = same_release_as(good, version, stack.work / f"tree-{version}")
            stack.releases[version] = stack.push(tree)
            pair = {"same": rollout(stack, version), "bad": rollout(stack, BAD)}
            for kind, result in pair.items():
                kept[kind].append(result)
            RAW.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> int:
    """Run, add to the raw figures, say the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    kept = json.loads(RAW.read_text()) if RAW.exists() else {"same": [], "bad": []}
    directory = open_directory(Path(tempfile.mkdtemp(prefix="hotswap-live-")) / ".hotswap")
    choose_ports(directory.choices, nodes=NODES)
    try:
        start_detached(directory)
        stack = RunningStack(directory)
        stack.push_greeter()
        until(lambda: len(stack.nodes()) == NODES)
        measure(stack, options.runs, kept)
        stack.close()
    finally:
        asyncio.run(end(directory))
    passed = sum(each["phase"] == Phase.COMPLETED for each in kept["same"])
    caught = sum(each["outcome"] == "fail" for each in kept["bad"])
    print(
        f"same release: {passed} of {len(kept['same'])} through; bad: {caught} of {len(kept['bad'])} caught"
    )
    return 0 if passed == len(kept["same"]) and caught == len(kept["bad"]) else 1


if __name__ == "__main__":
    sys.exit(main())
