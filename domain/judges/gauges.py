"""Gauges in the sequential judge: CPU, memory, and latencies of which only means are known."""

from dataclasses import replace

import numpy as np

from domain.judges import blocks, memory, signals, tracks
from domain.judges.context import Context, Crews
from domain.judges.evidence import Array
from domain.judges.findings import Finding
from domain.judges.tracks import Stored, Track
from domain.metrics import MetricLook, MetricSpec, Side

TINY = 1e-3  # of the usual level: what a gauge at zero, or below, counts as


def follow(metric: MetricLook, crews: Crews, stored: Stored, context: Context) -> tuple[Finding, Stored]:
    """One more look at a gauge; `stored` is what this function kept the last time, or empty."""
    width = metric.intervals
    ours, theirs = _read(metric.canary, crews.canary, width), _read(metric.baseline, crews.baseline, width)
    kept = stored or _start(metric, crews, ours, theirs)
    floor = float(memory.recall(kept["floor"]))
    levels = signals.gauge(
        _logs(ours, crews.canary, floor, memory.recall(kept["canary_usual"])),
        _logs(theirs, crews.baseline, floor, memory.recall(kept["baseline_usual"])),
        margin=metric.spec.margin,
        tolerance=metric.spec.tolerance,
    )
    track = Track.recall(kept["track"])
    track.update(levels, context)
    totals = memory.recall(kept["totals"]) + np.array([_sums(ours), _sums(theirs)])
    side = tracks.Side(
        measured=(_any(ours), _any(theirs)),
        ever=(bool(totals[0, 1] > 0), bool(totals[1, 1] > 0)),
        canary=_mean(totals[0]),
        baseline=_mean(totals[1]),
    )
    found = tracks.finding([track], side, crews, context, tolerance=metric.spec.tolerance)
    peak = max(float(memory.recall(kept["peak"])), _peak(ours))
    if metric.spec.floor is not None and totals[0, 1] > 0:
        found = replace(found, ceiling=peak, below_floor=peak <= metric.spec.floor)
    return found, {**kept, "track": track.keep(), "totals": memory.keep(totals), "peak": peak}


def _start(metric: MetricLook, crews: Crews, ours: Array, theirs: Array) -> Stored:
    """Floor, usual level of every block, and calibration, from the history; the floor from what there is."""
    past = metric.history_canary, metric.history_baseline
    before = (
        _read(past[0], crews.canary, past[0].intervals),
        _read(past[1], crews.baseline, past[1].intervals),
    )
    floor = _floor(metric.spec, [*before, ours, theirs])
    usual = []
    for side, crew in zip(before, (crews.canary, crews.baseline), strict=True):
        logs = blocks.averaged(_floored(side, floor), crew)
        known = np.isfinite(logs)
        means = np.sum(np.where(known, logs, 0.0), axis=1) / np.maximum(known.sum(axis=1), 1)
        usual.append(means if known.any(axis=1).all() else np.zeros(len(logs)))
    difference = np.full((crews.variants, 1), np.nan)
    if before[0].shape[1] == before[1].shape[1] > 0:
        difference = signals.gauge(
            _logs(before[0], crews.canary, floor, usual[0]),
            _logs(before[1], crews.baseline, floor, usual[1]),
            margin=0.0,
            tolerance=1.0,
        ).difference
    return {
        "floor": floor,
        "canary_usual": memory.keep(usual[0]),
        "baseline_usual": memory.keep(usual[1]),
        "track": Track.begin(difference, np.zeros(difference.shape)).keep(),
        "totals": [[0.0, 0.0], [0.0, 0.0]],
        "peak": 0.0,
    }


def _read(side: Side, crew: blocks.Members, width: int) -> Array:
    """Levels per node and interval, NaN where missing."""
    found = blocks.rows(side, crew, "values")
    return np.full((max(1, len(crew.names)), width), np.nan) if found is None else found


def _floor(spec: MetricSpec, tables: list[Array]) -> float:
    """Below this level all is the same: the policy's floor, or a thousandth of the usual level."""
    if spec.floor is not None:
        return spec.floor
    for pair in (tables[:2], tables[2:]):
        found = np.concatenate([table[np.isfinite(table) & (table > 0)] for table in pair])
        if found.size:
            return float(TINY * np.median(found))
    return 0.0


def _floored(side: Array, floor: float) -> Array:
    if floor <= 0:  # nothing above zero was ever measured: all levels are the same
        return np.where(np.isfinite(side), 0.0, np.nan)
    return np.log(np.maximum(side, floor))


def _logs(side: Array, crew: blocks.Members, floor: float, usual: Array) -> Array:
    """Logarithms per block, each brought from its own usual level to its side's.

    So a node that misses an interval does not move the mean of the others.
    """
    logs = _floored(side, floor)
    brought: Array = (blocks.averaged(logs, crew) if crew.names else logs) - (usual - usual.mean())[:, None]
    return brought


def _peak(side: Array) -> float:
    """The highest level of any node in any interval; a canary that never reached the floor is below it."""
    return float(np.max(side, initial=0.0, where=np.isfinite(side)))


def _any(side: Array) -> bool:
    return bool(np.isfinite(side).any())


def _sums(side: Array) -> list[float]:
    known = np.isfinite(side)
    return [float(np.sum(np.where(known, side, 0.0))), float(known.sum())]


def _mean(total: Array) -> float | None:
    return float(total[0] / total[1]) if total[1] > 0 else None
