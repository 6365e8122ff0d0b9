"""Latency distributions in the sequential judge: the geometric mean, the tail, and the far tail.

The geometric mean and the share above a threshold (before the change, one request in ten) are tested as
levels, and a pass is certified for both. Requests above a farther threshold (one in a hundred) are counted
like errors: a regression of a few requests shows there first. That is for fails only: a certificate for so
few requests would take hours.
"""

import numpy as np

from domain.judges import blocks, counts, memory, signals, tracks
from domain.judges.context import Context, Crews
from domain.judges.events import TAUGHT, UNKNOWN_DISPERSION
from domain.judges.evidence import Array
from domain.judges.findings import Finding
from domain.judges.streams import CountStream
from domain.judges.tracks import Stored, Track
from domain.metrics import MetricLook, Side


def follow(metric: MetricLook, crews: Crews, stored: Stored, context: Context) -> tuple[Finding, Stored]:
    """One more look at bucket counts; `stored` is what this function kept the last time, or empty."""
    bounds = np.array(metric.bounds)
    width = metric.intervals
    ours = _read(metric.canary, crews.canary, bounds, width)
    theirs = _read(metric.baseline, crews.baseline, bounds, width)
    kept = stored or _start(metric, crews, bounds, [ours, theirs])
    both = signals.latency(
        ours,
        theirs,
        bounds,
        memory.recall(kept["threshold"]),
        margin=metric.spec.margin,
        tolerance=metric.spec.tolerance,
    )
    followed = [Track.recall(kept["typical"]), Track.recall(kept["tail"])]
    far, psi = memory.recall_all(CountStream, kept["far"]), memory.recall(kept["far_psi"])
    counted = signals.far_tail(
        ours, theirs, bounds, memory.recall(kept["far_threshold"]), margin=metric.spec.margin
    )
    _count(far, counted, psi, context)
    for track, levels in zip(followed, both, strict=True):
        track.update(levels, context)
    middles = signals.log_middles(bounds)
    new = np.array([[float(np.sum(side * middles)), float(np.sum(side))] for side in (ours, theirs)])
    totals = memory.recall(kept["totals"]) + new
    side = tracks.Side(
        measured=(bool(new[0, 1] > 0), bool(new[1, 1] > 0)),
        ever=(bool(totals[0, 1] > 0), bool(totals[1, 1] > 0)),
        canary=_typical(totals[0]),
        baseline=_typical(totals[1]),
    )
    found = tracks.finding(
        followed,
        side,
        crews,
        context,
        tolerance=metric.spec.tolerance,
        beside=[far.against(context.look, context.planned)],
    )
    series: Stored = {
        "typical": followed[0].keep(),
        "tail": followed[1].keep(),
        "far": memory.keep_all(far),
    }
    return found, {**kept, **series, "totals": memory.keep(totals)}


def _start(metric: MetricLook, crews: Crews, bounds: Array, sides: list[Array]) -> Stored:
    """The tail's threshold and the calibration, from the history; without one, the present's threshold."""
    past = metric.history_canary, metric.history_baseline
    before = [
        _read(past[0], crews.canary, bounds, past[0].intervals),
        _read(past[1], crews.baseline, bounds, past[1].intervals),
    ]
    seen = np.sum([side.sum(axis=(0, 1)) for side in before], axis=0)
    if seen.sum() <= 0:
        seen = np.sum([side.sum(axis=(0, 1)) for side in sides], axis=0)
    known = seen.sum() > 0
    threshold, far_threshold = (
        signals.quantile(seen, bounds, 1.0 - share) if known else np.asarray(bounds[-1])
        for share in (signals.TAIL, signals.FAR)
    )
    psi = np.full(crews.variants, UNKNOWN_DISPERSION)
    gap = np.full((crews.variants, 1), np.nan)
    begun = [Track.begin(gap, gap), Track.begin(gap, gap)]
    if before[0].shape[1] == before[1].shape[1] > 0:
        both = signals.latency(before[0], before[1], bounds, threshold, margin=0.0, tolerance=1.0)
        begun = [Track.begin(levels.difference, levels.sampling) for levels in both]
        if before[0].shape[1] >= TAUGHT:
            psi = counts.dispersion_of(
                *signals.far_tail(before[0], before[1], bounds, far_threshold, margin=0.0)
            )
    return {
        "threshold": float(threshold),
        "typical": begun[0].keep(),
        "tail": begun[1].keep(),
        "far_threshold": float(far_threshold),
        "far_psi": memory.keep(psi),
        "far": memory.keep_all(CountStream.empty((crews.variants,))),
        "totals": [[0.0, 0.0], [0.0, 0.0]],
    }


def _count(
    stream: CountStream, counted: tuple[Array, Array, Array, Array], psi: Array, context: Context
) -> None:
    canary, baseline, exposure, other = counted
    stream.update(
        canary=canary,
        baseline=baseline,
        canary_exposure=exposure,
        baseline_exposure=other,
        margin=0.0,
        tolerance=1.0,
        dispersion=psi,
        look=context.look,
        planned=context.planned,
    )


def _read(side: Side, crew: blocks.Members, bounds: Array, width: int) -> Array:
    """Observations per block, interval and bucket."""
    found = blocks.buckets(side, crew, bounds.size + 1)
    if found is None:
        return np.zeros((max(1, crew.blocks), width, bounds.size + 1))
    return np.nan_to_num(blocks.summed(found, crew))


def _typical(total: Array) -> float | None:
    """The geometric mean, from the sum of logarithms and the number of observations."""
    return float(np.exp(total[0] / total[1])) if total[1] > 0 else None
