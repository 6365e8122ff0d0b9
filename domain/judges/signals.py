"""From what nodes measured to the series that are tested, with one node left out at a time.

A regression must show without any single node: if the worst node is bad for its own reasons, the test that
leaves it out is a valid test of the release, and the smallest of all such tests is never larger than that
one. So one bad node, on either side, cannot make a release look bad; a real regression is on every node and
loses one node's data only. Fleets of more than 32 nodes a side are cut into 32 blocks of nodes, so that state
stays small.

Arrays are [..., node, interval] (latency: a further axis of buckets); results are [..., variant, interval],
where variant 0 has all nodes, and the others lack one canary node, then one baseline node, each.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.judges.evidence import Array

BLOCKS: Final = 32
TAIL: Final = 0.1  # the share of requests above the threshold that is fixed before the rollout
FAR: Final = 0.01  # the same, of the far tail: few requests, counted one by one


@dataclass(frozen=True, slots=True)
class Levels:
    """One log-ratio series per variant, as LevelStream.update wants it."""

    difference: Array
    above_margin: Array
    below_tolerance: Array
    sampling: Array


def left_out(side: Array, *, axis: int = -2) -> Array:
    """Sums over all nodes, and without each of them; a single node cannot be left out."""
    total = np.sum(side, axis=axis, keepdims=True)
    return total if side.shape[axis] < 2 else np.concatenate([total, total - side], axis=axis)


def variants(canary: Array, baseline: Array, *, axis: int = -2) -> tuple[Array, Array]:
    """Both sides' sums in matching variants: all; without a canary node; without a baseline node."""
    ours, theirs = left_out(canary, axis=axis), left_out(baseline, axis=axis)
    fewer, others = ours.shape[axis] - 1, theirs.shape[axis] - 1
    whole = np.take(ours, [0], axis=axis), np.take(theirs, [0], axis=axis)
    return (
        np.concatenate([ours, np.repeat(whole[0], others, axis=axis)], axis=axis),
        np.concatenate(
            [
                whole[1],
                np.repeat(whole[1], fewer, axis=axis),
                np.take(theirs, range(1, others + 1), axis=axis),
            ],
            axis=axis,
        ),
    )


def gauge(canary: Array, baseline: Array, *, margin: float, tolerance: float) -> Levels:
    """Log-ratio of geometric means over nodes, from logarithms of gauges (NaN where missing)."""
    (ours, theirs), (present, there) = (
        variants(np.where(np.isfinite(canary), canary, 0.0), np.where(np.isfinite(baseline), baseline, 0.0)),
        variants(np.isfinite(canary).astype(float), np.isfinite(baseline).astype(float)),
    )
    known = (present > 0.5) & (there > 0.5)
    difference = np.where(known, ours / np.maximum(present, 1) - theirs / np.maximum(there, 1), np.nan)
    return Levels(
        difference=difference,
        above_margin=difference - np.log1p(margin),
        below_tolerance=np.log1p(tolerance) - difference,
        sampling=np.zeros(difference.shape),
    )


def log_middles(bounds: Array) -> Array:
    """The logarithm that stands for each bucket: the geometric middle, half a bucket beyond the ends."""
    edges = np.log(bounds)
    if edges.size == 1:
        return np.array([edges[0] - 0.35, edges[0] + 0.35])
    half = np.diff(edges)[[0, -1]] / 2
    return np.concatenate([[edges[0] - half[0]], (edges[1:] + edges[:-1]) / 2, [edges[-1] + half[1]]])


def share_above(buckets: Array, bounds: Array, threshold: float | Array) -> Array:
    """Observations above a threshold, interpolated in log latency within a bucket (last axis: buckets)."""
    edges = np.log(np.concatenate([bounds[:1] / 2, bounds, bounds[-1:] * 2]))
    place = np.log(threshold)
    width = np.diff(edges)
    part = np.clip((edges[1:] - np.asarray(place)[..., None]) / width, 0.0, 1.0)
    result: Array = np.sum(buckets * part, axis=-1)
    return result


def quantile(buckets: Array, bounds: Array, share: float) -> Array:
    """The value below which that share of the observations lies, interpolated in log latency."""
    edges = np.log(np.concatenate([bounds[:1] / 2, bounds, bounds[-1:] * 2]))
    upto = np.cumsum(buckets, axis=-1)
    wanted = share * upto[..., -1:]
    index = np.sum(upto < wanted, axis=-1, keepdims=True)
    index = np.minimum(index, buckets.shape[-1] - 1)
    inside = np.take_along_axis(buckets, index, axis=-1)
    before = np.take_along_axis(upto, index, axis=-1) - inside
    part = np.clip((wanted - before) / np.maximum(inside, 1e-300), 0.0, 1.0)
    low = edges[index]
    result: Array = np.exp(low + part * (edges[index + 1] - low))[..., 0]
    return result


def far_tail(
    canary: Array, baseline: Array, bounds: Array, threshold: Array, *, margin: float
) -> tuple[Array, Array, Array, Array]:
    """Requests above the far threshold and all requests, of canary and baseline, in matching variants.

    The canary's threshold is larger by the margin, as in `latency`.
    """
    ours, theirs = variants(canary, baseline, axis=-3)
    return (
        share_above(ours, bounds, threshold * (1.0 + margin)),
        share_above(theirs, bounds, threshold),
        np.sum(ours, axis=-1),
        np.sum(theirs, axis=-1),
    )


def latency(
    canary: Array, baseline: Array, bounds: Array, threshold: Array, *, margin: float, tolerance: float
) -> tuple[Levels, Levels]:
    """Two properties of a latency distribution: its geometric mean, and its share above a threshold.

    The share above the threshold is compared with the canary's share above (1 + margin) times the threshold:
    a release that is slower by the margin throughout has the same share. Its variance by finite numbers of
    requests is taken at the expected share, so that it does not depend on what is being tested.

    Args:
        canary: observations [..., node, interval, bucket].
        baseline: the same.
        bounds: upper bounds of the buckets.
        threshold: fixed before the rollout; [..., 1, 1].
        margin: relative.
        tolerance: relative.
    """
    ours, theirs = variants(canary, baseline, axis=-3)
    number, others = np.sum(ours, axis=-1), np.sum(theirs, axis=-1)
    known = (number > 0.5) & (others > 0.5)
    number, others = np.where(known, number, 1.0), np.where(known, others, 1.0)
    middles = log_middles(bounds)
    means = [np.sum(side * middles, axis=-1) / count for side, count in ((ours, number), (theirs, others))]
    squares = np.sum(theirs * middles**2, axis=-1) / others - means[1] ** 2
    typical = np.where(known, means[0] - means[1], np.nan)
    within = np.maximum(squares, 0.01) * (1 / number + 1 / others)

    def log_share(side: Array, count: Array, factor: float) -> Array:
        return np.log((share_above(side, bounds, threshold * factor) + 0.5) / (count + 1.0))

    usual = log_share(theirs, others, 1.0)
    expected = 1 / (TAIL * number + 0.5) + 1 / (TAIL * others + 0.5)

    def tail(factor: float) -> Array:
        return np.where(known, log_share(ours, number, factor) - usual, np.nan)

    return (
        Levels(typical, typical - np.log1p(margin), np.log1p(tolerance) - typical, within),
        Levels(tail(1.0), tail(1.0 + margin), -tail(1.0 + tolerance), expected),
    )
