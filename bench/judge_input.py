"""A simulated rollout as the judges' input: the same shape that providers deliver."""

import numpy as np

from bench.judge_world import BOUNDS, HISTORY, LOOK, MINUTES, Array, Group
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side

ERRORS = MetricSpec(name="errors", kind=MetricKind.RATIO, unit="%", margin=0.0, tolerance=1.0)
LATENCY = MetricSpec(name="latency", kind=MetricKind.LATENCY, unit="s", margin=0.05, tolerance=0.25)
CPU = MetricSpec(name="cpu", kind=MetricKind.GAUGE, unit="cores", margin=0.05, tolerance=0.5)
MEMORY = MetricSpec(name="memory", kind=MetricKind.GAUGE, unit="bytes", margin=0.05, tolerance=0.25)
SPECS = (ERRORS, LATENCY, CPU, MEMORY)


def looks(
    canary: Group, baseline: Group, repetition: int, specs: tuple[MetricSpec, ...] = SPECS
) -> list[JudgeLook]:
    """The twelve looks of one repetition."""
    return [_look(canary, baseline, repetition, number, specs) for number in range(1, MINUTES // LOOK + 1)]


def _look(
    canary: Group, baseline: Group, repetition: int, number: int, specs: tuple[MetricSpec, ...]
) -> JudgeLook:
    start = HISTORY + (number - 1) * LOOK
    now, before = slice(start, start + LOOK), slice(0, HISTORY)
    metrics = []
    for spec in specs:
        sides = {
            "canary": _side(canary, repetition, spec, now, "c"),
            "baseline": _side(baseline, repetition, spec, now, "b"),
        }
        if number == 1:
            sides["history_canary"] = _side(canary, repetition, spec, before, "c")
            sides["history_baseline"] = _side(baseline, repetition, spec, before, "b")
        bounds = tuple(BOUNDS.tolist()) if spec.kind is MetricKind.LATENCY else ()
        metrics.append(MetricLook(spec=spec, bounds=bounds, **sides))
    nodes = canary.requests.shape[1]
    return JudgeLook(
        number=number,
        start=60.0 * start,
        end=60.0 * (start + LOOK),
        step=60.0,
        metrics=tuple(metrics),
        canary_nodes=nodes,
        baseline_nodes=nodes,
        canary_requests=float(canary.requests[repetition, :, now].sum()),
        baseline_requests=float(baseline.requests[repetition, :, now].sum()),
    )


def _side(group: Group, repetition: int, spec: MetricSpec, when: slice, prefix: str) -> Side:
    nodes = tuple(f"{prefix}{index:02}" for index in range(group.requests.shape[1]))
    if spec.name == "errors":
        return Side(
            nodes=nodes,
            values=_rows(group.errors, repetition, when),
            exposure=_rows(group.requests, repetition, when),
        )
    if spec.name == "latency":
        found = group.buckets[repetition, :, when]
        return Side(nodes=nodes, buckets=tuple(tuple(map(tuple, row)) for row in found.tolist()))
    return Side(nodes=nodes, values=_rows(getattr(group, spec.name), repetition, when))


def _rows(table: Array, repetition: int, when: slice) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.asarray(table[repetition, :, when]).tolist()))
