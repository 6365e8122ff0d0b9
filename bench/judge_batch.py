"""The three judges over many simulated rollouts at once.

The sequential judge runs on the same streams, signals and calibration as in domain.judges, with repetitions
as one more leading axis; tests/bench checks that it says the same as the judge itself. The mann-whitney judge
is called metric by metric, with all of Kayenta's behaviour; threshold is a few sums.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge_input import CPU, ERRORS, LATENCY, MEMORY, SPECS
from bench.judge_world import BOUNDS, HISTORY, LOOK, MINUTES, Array, Group
from domain.judges import counts, drift, signals
from domain.judges.decision import RISING
from domain.judges.kayenta.classify import Label, Terms, classify
from domain.judges.streams import CountStream, LevelStream
from domain.judges.tracks import averaged
from domain.judging import FailOpen, MetricOptions, Thresholds
from domain.metrics import Direction, MetricSpec

LOOKS = MINUTES // LOOK
NEVER = 99
Marks = NDArray[np.bool_]

NAMES = tuple(spec.name for spec in SPECS)


@dataclass(frozen=True)
class Course:
    """One metric over all repetitions: log evidence and log certificate after each look."""

    against: Array
    certified: Array

    def failed(self, alpha: float) -> Array:
        """The look of the fail, per repetition; NEVER without one."""
        return first(self.against >= np.log(1 / alpha))

    def passed(self, alpha: float) -> Array:
        """The first look at which the metric alone would pass."""
        holds = (self.certified >= np.log(1 / alpha)) & (self.against < RISING)
        before = np.arange(1, LOOKS + 1) < self.failed(alpha)[:, None]
        return first(holds & before)


def first(reached: Array | Marks) -> Array:
    """The number of the first look that is marked, per repetition."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, NEVER)


def looks() -> Iterator[tuple[int, slice]]:
    """The number and the minutes of each look."""
    for number in range(1, LOOKS + 1):
        start = HISTORY + (number - 1) * LOOK
        yield number, slice(start, start + LOOK)


def sequential(canary: Group, baseline: Group, specs: tuple[MetricSpec, ...] = SPECS) -> dict[str, Course]:
    """The sequential judge, metric by metric."""
    follow = {"errors": _errors, "latency": _latency, "cpu": _gauge, "memory": _gauge}
    return {spec.name: follow[spec.name](canary, baseline, spec) for spec in specs}


def _baseline_variants(canary: Group, variants: int) -> list[int]:
    nodes = canary.requests.shape[1]
    return [0] if nodes < 2 else [0, *range(variants - nodes, variants)]


def _errors(canary: Group, baseline: Group, spec: MetricSpec) -> Course:
    events = signals.variants(canary.errors, baseline.errors)
    exposure = signals.variants(canary.requests, baseline.requests)
    past = [side[..., :HISTORY] for side in (*events, *exposure)]
    psi = counts.dispersion_of(*past)
    stream = CountStream.empty(psi.shape)
    against, certified = [], []
    picked = _baseline_variants(canary, psi.shape[1])
    for number, now in looks():
        stream.update(
            canary=events[0][..., now],
            baseline=events[1][..., now],
            canary_exposure=exposure[0][..., now],
            baseline_exposure=exposure[1][..., now],
            margin=spec.margin,
            tolerance=spec.tolerance,
            dispersion=psi,
            look=number,
            planned=LOOKS,
        )
        against.append(stream.against(number, LOOKS).min(axis=1))
        certified.append(stream.certified()[:, picked].min(axis=1))
    return Course(np.stack(against, axis=1), np.stack(certified, axis=1))


def _latency(canary: Group, baseline: Group, spec: MetricSpec) -> Course:
    seen = sum(side.buckets[:, :, :HISTORY].sum(axis=(1, 2)) for side in (canary, baseline))
    threshold = signals.quantile(np.asarray(seen), BOUNDS, 1 - signals.TAIL)[:, None, None]
    both = signals.latency(
        canary.buckets, baseline.buckets, BOUNDS, threshold, margin=spec.margin, tolerance=spec.tolerance
    )
    far = signals.quantile(np.asarray(seen), BOUNDS, 1 - signals.FAR)[:, None, None]
    counted = signals.far_tail(canary.buckets, baseline.buckets, BOUNDS, far, margin=spec.margin)
    unshifted = signals.far_tail(canary.buckets, baseline.buckets, BOUNDS, far, margin=0.0)
    psi = counts.dispersion_of(*(side[..., :HISTORY] for side in unshifted))
    picked = _baseline_variants(canary, psi.shape[1])
    return _levels(list(both), picked, beside=_far(counted, psi))


def _far(counted: tuple[Array, Array, Array, Array], psi: Array) -> list[Array]:
    """Evidence of the far tail after each look."""
    stream, found = CountStream.empty(psi.shape), []
    for number, now in looks():
        stream.update(
            canary=counted[0][..., now],
            baseline=counted[1][..., now],
            canary_exposure=counted[2][..., now],
            baseline_exposure=counted[3][..., now],
            margin=0.0,
            tolerance=1.0,
            dispersion=psi,
            look=number,
            planned=LOOKS,
        )
        found.append(stream.against(number, LOOKS))
    return found


def _gauge(canary: Group, baseline: Group, spec: MetricSpec) -> Course:
    logs = [np.log(getattr(side, spec.name)) for side in (canary, baseline)]
    usual = [side[..., :HISTORY].mean(axis=-1, keepdims=True) for side in logs]
    brought = [
        side - (level - level.mean(axis=1, keepdims=True)) for side, level in zip(logs, usual, strict=True)
    ]
    levels = signals.gauge(brought[0], brought[1], margin=spec.margin, tolerance=spec.tolerance)
    return _levels([levels], _baseline_variants(canary, levels.difference.shape[1]))


def _levels(series: list[signals.Levels], picked: list[int], beside: list[Array] | None = None) -> Course:
    noises = [drift.learn(each.difference[..., :HISTORY], each.sampling[..., :HISTORY]) for each in series]
    streams = [LevelStream.empty(each.difference.shape[:-1]) for each in series]
    against, certified = [], []
    for number, now in looks():
        for each, noise, stream in zip(series, noises, streams, strict=True):
            stream.update(
                difference=each.difference[..., now],
                above_margin=each.above_margin[..., now],
                below_tolerance=each.below_tolerance[..., now],
                sampling=each.sampling[..., now],
                noise=noise,
                look=number,
                planned=LOOKS,
            )
        found = [stream.against(number, LOOKS) for stream in streams]
        extra = [beside[number - 1]] if beside else []
        against.append(averaged([*found, *extra]).min(axis=1))
        certified.append(np.min([stream.certified()[:, picked].min(axis=1) for stream in streams], axis=0))
    return Course(np.stack(against, axis=1), np.stack(certified, axis=1))


def series(group: Group) -> dict[str, Array]:
    """What a judge of plain series sees: one value per minute and group."""
    middles = np.exp(signals.log_middles(BOUNDS))
    requests = group.requests.sum(axis=1)
    number = group.buckets.sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "errors": group.errors.sum(axis=1) / requests,
            "latency": (group.buckets * middles).sum(axis=(1, 3)) / number,
            "cpu": group.cpu.mean(axis=1),
            "memory": group.memory.mean(axis=1),
        }


def kayenta(canary: Group, baseline: Group, repetitions: int) -> dict[str, Array]:
    """The look at which Kayenta, run again after every look on the growing window, calls a metric High."""
    ours, theirs = series(canary), series(baseline)
    terms = Terms(
        direction=Direction.INCREASE,
        tolerance=0.25,
        confidence=0.98,
        critical=False,
        must_have_data=False,
        options=MetricOptions(),
        fail_open=FailOpen.kayenta(),
    )

    def look_of(name: str, repetition: int) -> int:
        for number, now in looks():
            window = slice(HISTORY, now.stop)
            found = classify(ours[name][repetition, window], theirs[name][repetition, window], terms)
            if found.label is Label.HIGH:
                return number
        return NEVER

    return {name: np.array([look_of(name, each) for each in range(repetitions)]) for name in NAMES}


def threshold(canary: Group, baseline: Group) -> dict[str, Array]:
    """The look at which the threshold judge fails a metric, with its default limits."""
    limits = Thresholds()
    now = slice(HISTORY, HISTORY + MINUTES)

    def pooled(values: Array) -> Array:
        return np.cumsum(values[..., now].sum(axis=1), axis=-1)[:, LOOK - 1 :: LOOK]

    def over(sides: Sequence[Array], increase: float, floor: float) -> Marks:
        ours, theirs = sides
        marked: Marks = ours > np.maximum(theirs * (1 + increase), theirs + floor)
        return marked

    errors = [pooled(side.errors) for side in (canary, baseline)]
    requests = [pooled(side.requests) for side in (canary, baseline)]
    shares = [e / np.maximum(n, 1) for e, n in zip(errors, requests, strict=True)]
    enough = (np.minimum(*requests) >= limits.minimum_requests) & (errors[0] >= limits.errors_minimum)
    slow = [_tail(side) for side in (canary, baseline)]
    cpu, memory = (
        [
            pooled(getattr(side, name)) / (np.arange(1, LOOKS + 1) * LOOK * side.cpu.shape[1])
            for side in (canary, baseline)
        ]
        for name in ("cpu", "memory")
    )
    return {
        "errors": first(over(shares, limits.errors_increase, limits.errors_floor) & enough),
        "latency": first(over(slow, limits.latency_increase, limits.latency_floor)),
        "cpu": first(over(cpu, limits.cpu_increase, limits.cpu_floor_cores)),
        "memory": first(over(memory, limits.memory_increase, limits.memory_floor_bytes / 2**20)),
    }


def _tail(group: Group) -> Array:
    """The 95th percentile after each look, linear within a bucket."""
    counted = np.cumsum(group.buckets[:, :, HISTORY:].sum(axis=1), axis=1)[:, LOOK - 1 :: LOOK]
    upto = np.cumsum(counted, axis=-1)
    wanted = 0.95 * upto[..., -1:]
    index = np.minimum(np.sum(upto < wanted, axis=-1, keepdims=True), BOUNDS.size - 1)
    inside = np.take_along_axis(counted, index, axis=-1)
    before = np.take_along_axis(upto, index, axis=-1) - inside
    edges = np.concatenate([[0.0], BOUNDS])
    part = np.clip((wanted - before) / np.maximum(inside, 1e-300), 0.0, 1.0)
    result: Array = (edges[index] + part * (edges[index + 1] - edges[index]))[..., 0]
    return result


FINE = tuple(
    spec.model_copy(update={"margin": 0.02}) if spec in (LATENCY, CPU, MEMORY) else spec
    for spec in (ERRORS, LATENCY, CPU, MEMORY)
)
