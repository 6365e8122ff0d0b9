"""Counters and ratios in the sequential judge: errors, restarts, unhealthy probes."""

from dataclasses import replace

import numpy as np
from pydantic import JsonValue

from domain.judges import blocks, counts, memory, signals
from domain.judges.context import Context, Crews
from domain.judges.evidence import Array, log_mean
from domain.judges.findings import Finding
from domain.judges.streams import CountStream
from domain.metrics import MetricKind, MetricLook, MetricSpec, Side

UNKNOWN_DISPERSION = 1.5  # ψ without history
TAUGHT = 20  # intervals of history that ψ needs

Stored = dict[str, JsonValue]


def follow(metric: MetricLook, crews: Crews, stored: Stored, context: Context) -> tuple[Finding, Stored]:
    """One more look at events and exposures; `stored` is what this function kept the last time, or empty."""
    width = metric.intervals
    ours, theirs = _read(metric.canary, crews.canary, width), _read(metric.baseline, crews.baseline, width)
    measured = (_any(ours), _any(theirs))
    if stored:
        stream = memory.recall_all(CountStream, stored["stream"])
        psi = memory.recall(stored["psi"])
    else:
        stream, psi = CountStream.empty((crews.variants,)), _dispersion(metric, crews)
    if all(measured):
        events, exposures = (signals.variants(a, b) for a, b in zip(ours, theirs, strict=True))
        stream.update(
            canary=events[0],
            baseline=events[1],
            canary_exposure=exposures[0],
            baseline_exposure=exposures[1],
            margin=metric.spec.margin,
            tolerance=metric.spec.tolerance,
            dispersion=psi,
            look=context.look,
            planned=context.planned,
        )
    kept: Stored = {"stream": memory.keep_all(stream), "psi": memory.keep(psi)}
    finding = _finding(metric.spec, stream, psi, crews, context)
    return replace(finding, measured=measured), kept


def _read(side: Side, crew: blocks.Members, width: int) -> tuple[Array, Array]:
    """Events and exposure per block and interval; zeros where a node did not measure both."""
    events, exposure = blocks.rows(side, crew, "values"), blocks.rows(side, crew, "exposure")
    if events is None or exposure is None:
        empty = np.zeros((max(1, crew.blocks), width))
        return empty, empty
    known = np.isfinite(events) & np.isfinite(exposure) & (events >= 0) & (exposure > 0)
    return (
        blocks.summed(np.where(known, events, 0.0), crew),
        blocks.summed(np.where(known, exposure, 0.0), crew),
    )


def _any(side: tuple[Array, Array]) -> bool:
    return bool(np.any(side[1] > 0))


def _dispersion(metric: MetricLook, crews: Crews) -> Array:
    """ψ of every variant from the history; a default where there is too little of it."""
    intervals = metric.history_canary.intervals
    ours = _read(metric.history_canary, crews.canary, intervals)
    theirs = _read(metric.history_baseline, crews.baseline, intervals)
    if intervals < TAUGHT or theirs[0].shape[-1] != intervals or not (_any(ours) and _any(theirs)):
        return np.full(crews.variants, UNKNOWN_DISPERSION)
    (x, y), (n, m) = (signals.variants(a, b) for a, b in zip(ours, theirs, strict=True))
    return counts.dispersion_of(x, y, n, m)


def _finding(
    spec: MetricSpec,
    stream: CountStream,
    psi: Array,
    crews: Crews,
    context: Context,
) -> Finding:
    against = stream.against(context.look, context.planned)
    loud, is_canary = crews.loud(against)
    certified = float(stream.certified()[crews.baseline_variants].min())
    x, y = float(stream.canary[0]), float(stream.baseline[0])
    n, m = float(stream.canary_exposure[0]), float(stream.baseline_exposure[0])
    low, high = counts.ratio_bounds(stream.grid[0], 1.0 + spec.tolerance, float(psi[0]), context.needed)
    ceiling, below = _ceiling(spec, x, n, float(psi[0]), context)
    events, minutes = _missing(spec, stream, certified, float(psi[0]), context)
    return Finding(
        measured=(False, False),
        ever=(n > 0, m > 0),
        canary=x / n if n > 0 else None,
        baseline=y / m if m > 0 else None,
        against=float(against.min()),
        whole=float(against[0]),
        certified=certified,
        estimate=(x / n) / (y / m) if n > 0 and y > 0 else None,
        low=low,
        high=high,
        ceiling=ceiling,
        below_floor=below,
        loud=loud,
        loud_is_canary=is_canary,
        events=events,
        minutes=minutes,
    )


def _ceiling(
    spec: MetricSpec, happened: float, exposure: float, psi: float, context: Context
) -> tuple[float | None, bool]:
    if spec.floor is None or exposure <= 0:
        return None, False
    share = spec.kind is MetricKind.RATIO
    happened = min(happened, exposure) if share else happened
    gained = counts.below_floor(spec.floor, np.array(happened), np.array(exposure), share=share) / psi
    ceiling = counts.rate_ceiling(happened / psi, exposure / psi, context.needed, share=share)
    return ceiling, bool(log_mean(gained) >= context.needed)


def _missing(
    spec: MetricSpec, stream: CountStream, certified: float, psi: float, context: Context
) -> tuple[float | None, float | None]:
    """Events and minutes to a certificate if the release is harmless and all goes on as it does.

    The evidence that is missing over the Kullback-Leibler divergence per event between "no change" and "just
    the tolerance".
    """
    events = float(stream.canary[0] + stream.baseline[0])
    spent = context.minutes(context.seen)
    lacking = max(0.0, context.needed + np.log(counts.STRIDES.size) - max(certified, 0.0))
    n, m = float(stream.canary_exposure[0]), float(stream.baseline_exposure[0])
    if n <= 0 or m <= 0:
        return None, None
    harmless, limit = n / (n + m), (1 + spec.tolerance) * n / ((1 + spec.tolerance) * n + m)
    per_event = harmless * np.log(harmless / limit) + (1 - harmless) * np.log((1 - harmless) / (1 - limit))
    wanted = float(lacking * psi / per_event)
    minutes = wanted / events * spent if events > 0 and spent > 0 else None
    by_floor = _minutes_to_floor(spec, stream, psi, context)
    if by_floor is not None and (minutes is None or by_floor < minutes):
        return None, by_floor
    return wanted, minutes


def _minutes_to_floor(spec: MetricSpec, stream: CountStream, psi: float, context: Context) -> float | None:
    """Minutes until the canary's own events prove it below the floor, if it goes on as it does.

    Its share so far is taken as the truth; None where there is no floor or the share is not well below it.
    """
    happened, exposure = float(stream.canary[0]), float(stream.canary_exposure[0])
    if spec.floor is None or exposure <= 0 or happened / exposure > spec.floor / 2:
        return None
    share = spec.kind is MetricKind.RATIO
    gained = counts.below_floor(spec.floor, np.array(happened), np.array(exposure), share=share) / psi
    per_exposure = float(np.max(gained)) / exposure
    if per_exposure <= 0:
        return None
    lacking = context.needed + float(np.log(counts.SHARES.size)) - float(np.max(gained))
    return max(0.0, lacking / per_exposure) / exposure * context.minutes(context.seen)
