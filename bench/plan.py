"""Plans for 10,000 nodes: how long one takes to compile, to hash, and to be looked at.

`make bench`, or `python -m bench.plan --nodes 10000`. Plain figures, the median of several rounds, per
strategy; beside them how long the JSON of the same plan takes to write, as a measure of the machine. The bar
is a second for compiling and hashing. Raw output goes to bench/raw/.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from domain.custom_steps import OnNodes
from domain.forecast import forecast
from domain.node import Node
from domain.placement import zone_of
from domain.plan import Plan
from domain.planner import make_plan
from domain.policy import EnvironmentPolicy
from domain.release import ReleaseRef
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling, Strategy

ROOT = Path(__file__).parent.parent
BAR_SECONDS = 1.0
RELEASE = ReleaseRef(module="greeter", version="2.0.0", digest="a" * 64, tree="b" * 64)
STRATEGIES: dict[str, Strategy] = {
    "direct": Direct(),
    "canary": Canary(),
    "canary, max_unavailable 5 %": Canary(max_unavailable="5%"),
    "rolling, 1 %": Rolling(batch="1%", max_unavailable="5%"),
    "rolling by zone, 1 %": Rolling(batch="1%", max_unavailable="10%", by_zone=True),
    "blue-green": BlueGreen(),
    "custom": Custom(
        waves=(1, "10%", "rest"),
        steps=tuple(
            OnNodes(step=step, wave=wave) for wave in (1, 2, 3) for step in ("stage", "activate", "verify")
        ),
    ),
}


def fleet(count: int) -> list[Node]:
    """Nodes of 12 zones, 5 roles and 3 architectures."""
    return [
        Node(
            name=f"node-{index:05}",
            environment="production",
            address=f"https://10.{index >> 16}.{index >> 8 & 255}.{index & 255}:7701",
            labels={
                "zone": f"zone-{index % 12}",
                "role": ("web", "api", "db", "cache", "edge")[index * 7 % 5],
                "arch": ("x86", "arm64", "riscv")[index * 11 % 3],
            },
        )
        for index in range(count)
    ]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def measure(strategy: Strategy, nodes: list[Node], rounds: int) -> dict[str, Any]:
    running = {node.name: "1.0.0" for node in nodes}
    zones = {node.name: zone_of(node) for node in nodes}
    times: dict[str, list[float]] = {"compile": [], "hash": [], "forecast": [], "json": []}

    def compile_plan() -> Plan:
        return make_plan(
            tenant="acme",
            environment="production",
            release=RELEASE,
            nodes=nodes,
            running=running,
            strategy=strategy,
            policy=EnvironmentPolicy(),
        )

    for _ in range(rounds):
        seconds, plan = timed(compile_plan)
        times["compile"].append(seconds)
        times["hash"].append(timed(partial(getattr, plan, "digest"))[0])
        times["forecast"].append(timed(partial(forecast, plan, zones, {}, {}))[0])
        times["json"].append(timed(plan.model_dump_json)[0])
    assert len(plan.nodes) == len(nodes)
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {"waves": len(plan.waves), "steps": len(plan.steps), "median": medians, "rounds": times}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--nodes", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    nodes = fleet(chosen.nodes)
    found = {name: measure(each, nodes, chosen.rounds) for name, each in STRATEGIES.items()}
    print(f"{chosen.nodes} nodes, median of {chosen.rounds} rounds, seconds")
    print(f"{'strategy':<30} {'waves':>6} {'compile':>9} {'hash':>7} {'sum':>7} {'forecast':>9} {'json':>7}")
    worst = 0.0
    for name, each in found.items():
        median = each["median"]
        total = median["compile"] + median["hash"]
        worst = max(worst, total)
        print(
            f"{name:<30} {each['waves']:>6} {median['compile']:>9.3f} {median['hash']:>7.3f} {total:>7.3f}"
            f" {median['forecast']:>9.3f} {median['json']:>7.3f}"
        )
    print(f"slowest plan: {worst:.3f} s, bar {BAR_SECONDS:.1f} s: {'ok' if worst <= BAR_SECONDS else 'OVER'}")
    raw = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "nodes": chosen.nodes,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "strategies": found,
    }
    (ROOT / "bench" / "raw" / "plan.json").write_text(json.dumps(raw, indent=1) + "\n")
    return 0 if worst <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
