"""The sequential judge on real rollouts: `make bench-judge-live`.

Ten agents of an embedded stack serve real traffic. The same release under another version number must go out
(no false rollback), a slow and failing one must come back, each so many times. Every run is a deployment
through the API, judged by the sequential judge on what the agents measure. Results are added to
bench/raw/judge_live.json, so that the runs may be made in several sittings.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.demo import build
from domain.analysis import Outcome
from domain.deployment import Phase
from domain.names import analysis_id
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from tests.stack.running import BAD, GOOD, RunningStack, started, until

RAW = Path(__file__).parent / "raw" / "judge_live.json"
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


def seconds_between(earlier: str, later: str) -> float:
    """Between two times in ISO 8601."""
    return round((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds(), 1)


def looks_of(analysis: dict[str, Any], changed: str) -> list[dict[str, Any]]:
    """Every look at the judged wave: how long after the order to change its first node, and the evidence."""
    return [
        {
            "seconds": seconds_between(changed, look["at"]),
            "outcome": look["verdict"]["outcome"],
            "metrics": {
                each["metric"]: {
                    "outcome": each["outcome"],
                    "evidence": each["evidence"],
                    "largest": (each["certificate"] or {}).get("largest"),
                }
                for each in look["verdict"]["metrics"]
            },
        }
        for look in analysis["looks"]
    ]


def rollout(stack: RunningStack, version: str) -> dict[str, Any]:
    """One deployment to its end: what became of it, what the judge said at every look, how long it took."""
    began = time.monotonic()
    deployment = stack.order(version, STRATEGY)
    seen = stack.wait(deployment, lambda each: Phase(each["phase"]).terminal, 300.0)
    result = {"deployment": deployment, "version": version, "phase": seen["phase"], "cause": seen["cause"]}
    result["seconds"] = round(time.monotonic() - began, 1)
    first_wave = [node for node in seen["nodes"] if node["wave"] == 1]
    changed = [node["touched_at"] for node in first_wave if node["touched_at"]]
    result["touched"] = sum(node["touched_at"] is not None for node in seen["nodes"])
    if changed:
        analysis = stack.deployer.get(f"/analyses/{analysis_id(deployment, 1)}")
        verdict = analysis["verdict"]
        result |= {"outcome": verdict["outcome"], "doubt": verdict["doubt"], "reason": verdict["reason"]}
        result["requests"] = [verdict["canary_requests"], verdict["baseline_requests"]]
        result["looks"] = looks_of(analysis, min(changed))
    print(json.dumps({name: each for name, each in result.items() if name != "looks"}), flush=True)
    return result


def expected(kind: str, result: dict[str, Any]) -> bool:
    """Whether the harmless release went out, or the bad one came back by the judge's word."""
    if kind == "same":
        return bool(result["phase"] == Phase.COMPLETED)
    return bool(result["phase"] == Phase.ROLLED_BACK_VERIFIED and result.get("outcome") == Outcome.FAIL)


def keep_inputs(stack: RunningStack, folder: Path, kind: str, result: dict[str, Any]) -> None:
    """What the judge saw, look by look, to find out afterwards why it said what it said."""
    folder.mkdir(parents=True, exist_ok=True)
    analysis = analysis_id(result["deployment"], 1)
    for number in range(1, 1 + len(result.get("looks", ()))):
        found = stack.deployer.get(f"/analyses/{analysis}/inputs", look=number)
        path = folder / f"{kind}-{result['version']}-{analysis}-{number}.json"
        path.write_text(json.dumps(found))


def measure(stack: RunningStack, options: argparse.Namespace, kept: dict[str, list[dict[str, Any]]]) -> None:
    """So many harmless rollouts and so many bad ones, under traffic; each is kept as it is done."""
    ends = time.monotonic() + options.minutes * 60
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=RULE)
    stack.install_greeter(GOOD)
    stack.admin.put("/clusters/production/policy", policy.model_dump(mode="json"))
    good = build.trees(stack.directory, (GOOD,))[GOOD]
    with stack.traffic():
        time.sleep(SETTLING)
        for _ in range(options.runs - len(kept["bad"])):
            if time.monotonic() > ends:
                return
            version = f"2.{1 + len(kept['same'])}.0"
            tree = same_release_as(good, version, stack.work / f"tree-{version}")
            stack.releases[version] = stack.push(tree)
            for kind, each in (("same", version), ("bad", BAD)):
                result = rollout(stack, each)
                kept[kind].append(result)
                RAW.write_text(json.dumps(kept, indent=1) + "\n")
                if options.inputs:
                    keep_inputs(stack, options.inputs, kind, result)


def summary(kept: dict[str, list[dict[str, Any]]]) -> str:
    """The figures that docs/judge.md tells."""
    lines = []
    for kind, wanted in (("same", Outcome.PASS), ("bad", Outcome.FAIL)):
        right = [each for each in kept[kind] if expected(kind, each)]
        lines.append(f"{kind}: {len(right)} of {len(kept[kind])} as they should")
        if right:
            firsts = [next(each for each in run["looks"] if each["outcome"] == wanted) for run in right]
            numbers = [1 + run["looks"].index(first) for run, first in zip(right, firsts, strict=True)]
            for name, values in (
                (f"seconds to the first {wanted}", [each["seconds"] for each in firsts]),
                (f"looks to the first {wanted}", numbers),
                ("looks", [len(run["looks"]) for run in right]),
                ("seconds of the whole rollout", [run["seconds"] for run in right]),
            ):
                lines.append(f"  {name}: median {statistics.median(values)}, most {max(values)}")
    return "\n".join(lines)


def main() -> int:
    """Run, add to the raw figures, say the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each kind, over all sittings")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this sitting; a pair under way ends")
    parser.add_argument("--inputs", type=Path, help="a folder for what the verdicts rest on")
    options = parser.parse_args()
    kept = json.loads(RAW.read_text()) if RAW.exists() else {"same": [], "bad": []}
    with started(Path(tempfile.mkdtemp(prefix="hotswap-live-")), nodes=NODES) as stack:
        stack.push_greeter()
        until(lambda: len(stack.nodes()) == NODES)
        measure(stack, options, kept)
    print(summary(kept))
    return 0 if all(expected(kind, each) for kind, runs in kept.items() for each in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
