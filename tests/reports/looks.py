"""An analysis with real verdicts of the sequential judge, small enough for a test."""

import random
from datetime import UTC, datetime

from domain.agent_metrics import AGENT_METRICS
from domain.judges.registry import judge
from domain.judging import JudgedLook, JudgePolicy
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side
from reports.model import Judged

BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8)
CANARY = ("web-1", "web-2", "web-3")
BASELINE = ("web-4", "web-5", "web-6", "web-7")
STEPS = 6
SPECS = tuple(spec for spec in AGENT_METRICS if spec.name != "unhealthy")


def _side(rng: random.Random, spec: MetricSpec, nodes: tuple[str, ...], factor: float, steps: int) -> Side:
    samples = tuple(steps for _ in nodes)
    if spec.kind is MetricKind.LATENCY:
        rows = tuple(tuple(_latencies(rng, factor) for _ in range(steps)) for _ in nodes)
        return Side(nodes=nodes, buckets=rows, samples=samples)
    if spec.kind is MetricKind.RATIO:
        failed = tuple(
            tuple(float(sum(rng.random() < 0.004 * factor for _ in range(200))) for _ in range(steps))
            for _ in nodes
        )
        return Side(nodes=nodes, values=failed, exposure=((200.0,) * steps,) * len(nodes), samples=samples)
    level = 0.4 if spec.unit == "cores" else 3e8
    values = tuple(tuple(level * (1 + rng.gauss(0, 0.03)) for _ in range(steps)) for _ in nodes)
    return Side(nodes=nodes, values=values, samples=samples)


def _latencies(rng: random.Random, factor: float) -> tuple[float, ...]:
    counts = [0.0] * (len(BOUNDS) + 1)
    for _ in range(60):
        seconds = rng.lognormvariate(-2.3, 0.5) * factor
        counts[next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
    return tuple(counts)


def analysis(factor: float = 1.0, looks: int = 5) -> list[Judged]:
    """So many looks at a canary that is `factor` times slower and sicker, up to a fail."""
    rng, policy, state, found = random.Random(7), JudgePolicy(), None, []
    for number in range(1, looks + 1):
        metrics = tuple(
            MetricLook(
                spec=spec,
                bounds=BOUNDS if spec.kind is MetricKind.LATENCY else (),
                canary=_side(rng, spec, CANARY, factor, STEPS),
                baseline=_side(rng, spec, BASELINE, 1.0, STEPS),
                history_canary=_side(rng, spec, CANARY, 1.0, 4 * STEPS) if number == 1 else Side(),
                history_baseline=_side(rng, spec, BASELINE, 1.0, 4 * STEPS) if number == 1 else Side(),
            )
            for spec in SPECS
        )
        start = 1_700_000_000.0 + 180.0 * (number - 1)
        look = JudgeLook(
            number=number,
            start=start,
            end=start + 180.0,
            step=30.0,
            metrics=metrics,
            canary_nodes=len(CANARY),
            baseline_nodes=len(BASELINE),
        )
        verdict, state = judge(policy, state, look)
        found.append(
            Judged(
                number=number,
                at=datetime.fromtimestamp(look.end, tz=UTC),
                verdict=verdict,
                judged=JudgedLook(policy=policy, look=look),
            )
        )
        if verdict.outcome == "fail":
            break
    return found
