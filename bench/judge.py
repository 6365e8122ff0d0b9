"""The judges side by side on simulated rollouts: `make bench-judge`.

Writes bench/raw/judge.json, the figures in docs/judge/ and the tables between the marks in docs/judge.md, and
ends with 1 when the sequential judge misses one of its bars. Seeds are fixed; those that the judge was tuned
on (1–3, 11, 12) are not those that are reported.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import judge_batch, judge_report
from bench.judge_batch import FINE, NAMES, NEVER, Course
from bench.judge_input import SPECS
from bench.judge_scenarios import CASES, Case
from bench.judge_world import simulate

ROOT = Path(__file__).parent.parent
SEED = 2026
ALPHA = 0.05 / len(NAMES)
REPETITIONS = {"null": 1000, "effect": 400, "kayenta": 60}
AT_ONCE = 200  # rollouts of one node per group; fewer of more nodes


@dataclass
class Tally:
    """What the judges said on one scenario: per judge and metric, the look of the fail per repetition."""

    case: Case
    fails: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    passes: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, judge: str, found: dict[str, Any]) -> None:
        """One more batch."""
        mine = self.fails.setdefault(judge, {name: [] for name in NAMES})
        for name in NAMES:
            mine[name].extend(int(look) for look in found[name])

    def row(self) -> dict[str, Any]:
        """Rates and medians, as kept in the raw figures."""
        judges = {judge: self._judge(looks) for judge, looks in self.fails.items()}
        row: dict[str, Any] = {"scenario": self.case.scenario.name, "metric": self.case.metric}
        row["judges"] = judges
        row["passes"] = {name: _rate(looks) for name, looks in self.passes.items()}
        row["bars"] = {
            name: getattr(self.case, name) for name in ("alarms", "found", "median", "false_passes")
        }
        row["missed"] = missed(self.case, row)
        return row

    def _judge(self, looks: dict[str, list[Any]]) -> dict[str, Any]:
        table = np.array([looks[name] for name in NAMES])
        each = {name: _rate(looks[name]) for name in NAMES}
        of_metric = each[self.case.metric] if self.case.metric else _rate(table.min(axis=0))
        return {"any": _rate(table.min(axis=0)), "target": of_metric, **each}


def _rate(looks: Any) -> dict[str, Any]:
    """Share found in percent, its 95 % upper limit (Wilson), median look, share found by each look."""
    array = np.asarray(looks)
    number, hits = array.size, int(np.sum(array < NEVER))
    share, z = hits / number, 1.96
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    width = z * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2)) / (1 + z**2 / number)
    median = float(np.median(array))
    by_look = [round(100 * float(np.mean(array <= look)), 2) for look in range(1, judge_batch.LOOKS + 1)]
    return {
        "rate": round(100 * share, 2),
        "upper": round(100 * (centre + width), 2),
        "median": None if median >= NEVER else median,
        "by_look": by_look,
        "of": number,
    }


def missed(case: Case, row: dict[str, Any]) -> list[str]:
    """The bars that the sequential judge misses, in words."""
    found = row["judges"]["sequential"]
    problems = []
    if case.alarms is not None and found["any"]["rate"] > case.alarms:
        problems.append(f"{found['any']['rate']} % false alarms, {case.alarms} % allowed")
    target = found["target"]
    if case.found is not None and target["rate"] < case.found:
        problems.append(f"{target['rate']} % found, {case.found} % wanted")
    if case.median is not None and (target["median"] is None or target["median"] > case.median):
        problems.append(f"median look {target['median']}, {case.median} wanted")
    if case.false_passes is not None and row["passes"][case.metric]["rate"] > case.false_passes:
        problems.append(f"{row['passes'][case.metric]['rate']} % false passes, {case.false_passes} % allowed")
    return problems


def run(case: Case, index: int, scale: float) -> dict[str, Any]:
    """All judges on one scenario."""
    usual = REPETITIONS["effect" if case.metric else "null"]
    wanted = max(20, int(usual * case.weight * scale))
    at_once = max(5, AT_ONCE // case.scenario.nodes)
    tally = Tally(case, passes={name: [] for name in NAMES})
    left_for_kayenta = int(REPETITIONS["kayenta"] * scale)
    for batch, done in enumerate(range(0, wanted, at_once)):
        size = min(at_once, wanted - done)
        canary, baseline = simulate(case.scenario, size, np.random.default_rng([SEED, index, batch]))
        courses: dict[str, Course] = judge_batch.sequential(canary, baseline, FINE if case.fine else SPECS)
        tally.add("sequential", {name: courses[name].failed(ALPHA) for name in NAMES})
        for name in NAMES:
            tally.passes[name].extend(courses[name].passed(ALPHA).tolist())
        tally.add("threshold", judge_batch.threshold(canary, baseline))
        ranked = min(size, left_for_kayenta)
        if ranked > 0:
            tally.add("mann-whitney", judge_batch.kayenta(canary, baseline, ranked))
            left_for_kayenta -= ranked
    return tally.row()


def main() -> int:
    """Run, write, and say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual repetitions")
    parser.add_argument("--only", default="", help="scenarios whose name contains this; writes nothing")
    options = parser.parse_args()
    began, rows = time.process_time(), []
    for index, case in enumerate(CASES):
        if options.only not in case.scenario.name:
            continue
        started = time.process_time()
        row = run(case, index, options.scale)
        rows.append(row)
        rates = {judge: found["target"]["rate"] for judge, found in row["judges"].items()}
        print(
            f"{row['scenario']:44} {rates} {time.process_time() - started:.1f} s", *row["missed"], flush=True
        )
    if not options.only:
        raw = {"seed": SEED, "cpu_seconds": round(time.process_time() - began), "rows": rows}
        (ROOT / "bench/raw/judge.json").write_text(json.dumps(raw, separators=(",", ":")) + "\n")
        judge_report.write(rows, ROOT / "docs")
    problems = [f"{row['scenario']}: {problem}" for row in rows for problem in row["missed"]]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
