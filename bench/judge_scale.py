"""How much CPU a look costs on a large fleet: 10,000 nodes, four metrics, twelve looks, one core.

`make bench-judge-scale` writes bench/raw/judge_scale.json; it ends with 1 when a look takes more than 2 s.
The time is that of reading the look's input from its stored form, judging it, and writing the state: all that
happens per look outside the database and the network.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from bench.judge_input import CPU, ERRORS, LATENCY, MEMORY
from bench.judge_world import BOUNDS
from domain.judges.sequential import judge
from domain.judging import JudgePolicy, JudgeState
from domain.metrics import JudgeLook, MetricLook, Side

NODES, LOOKS, INTERVALS, HISTORY = 10_000, 12, 5, 40
BAR = 2.0
ROOT = Path(__file__).parent.parent
BUCKETS = tuple(BOUNDS[::4].tolist())


def side(rng: np.random.Generator, names: tuple[str, ...], name: str, width: int) -> Side:
    """One side of one metric over so many intervals."""
    shape = (len(names), width)
    if name == "errors":
        asked = rng.poisson(60, shape).astype(float)
        failed = rng.binomial(asked.astype(int), 0.001).astype(float)
        return Side(nodes=names, values=rows(failed), exposure=rows(asked))
    if name == "latency":
        counted = rng.multinomial(60, np.full(len(BUCKETS) + 1, 1 / (len(BUCKETS) + 1)), shape).astype(float)
        return Side(nodes=names, buckets=tuple(tuple(map(tuple, row)) for row in counted.tolist()))
    return Side(nodes=names, values=rows(100 * np.exp(0.05 * rng.standard_normal(shape))))


def rows(table: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """As providers deliver them."""
    return tuple(map(tuple, table.tolist()))


def look(rng: np.random.Generator, number: int) -> JudgeLook:
    """One look at the fleet: a tenth of it are canaries."""
    groups = {
        "canary": tuple(f"node-{index:05}" for index in range(NODES // 10)),
        "baseline": tuple(f"node-{index:05}" for index in range(NODES // 10, NODES)),
    }
    metrics = []
    for spec in (ERRORS, LATENCY, CPU, MEMORY):
        sides = {name: side(rng, nodes, spec.name, INTERVALS) for name, nodes in groups.items()}
        if number == 1:
            sides |= {
                f"history_{name}": side(rng, nodes, spec.name, HISTORY) for name, nodes in groups.items()
            }
        bounds = BUCKETS if spec.name == "latency" else ()
        metrics.append(MetricLook(spec=spec, bounds=bounds, **sides))
    return JudgeLook(
        number=number, start=60.0 * number, end=60.0 * (number + 1), step=12, metrics=tuple(metrics)
    )


def main() -> int:
    """Judge twelve looks; what each costs, and how large the state is."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng, state, costs = np.random.default_rng(5), None, []
    size = 0
    for number in range(1, LOOKS + 1):
        stored = look(rng, number).model_dump_json()
        before = state.model_dump_json() if state else None
        began = time.process_time()
        read = time.process_time()
        asked = JudgeLook.model_validate_json(stored)
        known = JudgeState.model_validate_json(before) if before else None
        read = time.process_time() - read
        _, state = judge(JudgePolicy(planned_looks=LOOKS), known, asked)
        size = len(state.model_dump_json())
        costs.append({"look": number, "cpu_seconds": time.process_time() - began, "of_it_reading": read})
        print(f"look {number}: {costs[-1]['cpu_seconds']:.2f} s CPU, {read:.2f} s of it reading the input")
    later = [cost["cpu_seconds"] for cost in costs[1:]]
    raw = {
        "nodes": NODES,
        "metrics": 4,
        "intervals_per_look": INTERVALS,
        "history_intervals": HISTORY,
        "state_bytes": size,
        "worst_look": max(later),
        "first_look_with_history": costs[0]["cpu_seconds"],
        "looks": costs,
    }
    (ROOT / "bench/raw/judge_scale.json").write_text(json.dumps(raw, indent=1) + "\n")
    return 1 if max(cost["cpu_seconds"] for cost in costs) > BAR else 0


if __name__ == "__main__":
    sys.exit(main())
