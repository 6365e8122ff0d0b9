"""One metric: Pass, High, Low, Nodata, NodataFailMetric or Error."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from domain.judges.evidence import Array
from domain.judges.kayenta import series
from domain.judges.kayenta.rank_test import NoSpread, Shift, autocorrelation_inflation, shift
from domain.judging import EffectSize, FailOpen, MetricOptions
from domain.metrics import Direction


class Label(StrEnum):
    """Kayenta's words for one metric."""

    PASS = "Pass"  # noqa: S105 - a classification
    HIGH = "High"
    LOW = "Low"
    NO_DATA = "Nodata"
    NO_DATA_FAIL = "NodataFailMetric"
    ERROR = "Error"
    TOO_FEW = "TooFewPoints"  # ours: never said with the switch `any_sample_size`


@dataclass(frozen=True, slots=True)
class Terms:
    """What a metric is classified by."""

    direction: Direction
    tolerance: float
    confidence: float
    critical: bool
    must_have_data: bool
    options: MetricOptions
    fail_open: FailOpen
    minimum_points: int = 1
    regression: float = 0.25
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Classified:
    """The label; whether it decides alone; mean over mean; the shift, where one was computed."""

    label: Label
    reason: str = ""
    critical: bool = False
    deviation: float | None = 1.0
    shift: Shift | None = None


def classify(experiment: Array, control: Array, terms: Terms) -> Classified:
    """The label of one metric, from both series in order of time (NaN: missing)."""
    gaps = terms.fail_open.replace_passes
    measured = np.isfinite(experiment).any(), np.isfinite(control).any()
    present = [
        series.without_gaps(side, terms.options, zero_for_gaps=gaps or all(measured))
        for side in (experiment, control)
    ]
    x, y = (series.cleaned(side, terms.options) for side in present)
    if x.size == 0 or y.size == 0:
        return _without_data(terms)
    deviation = mean_ratio(x, y)
    if not terms.fail_open.any_sample_size and min(x.size, y.size) < terms.minimum_points:
        few = f"{x.size} against {y.size} points, {terms.minimum_points} are needed"
        return Classified(Label.TOO_FEW, few, deviation=deviation)
    if np.array_equal(np.sort(x), np.sort(y)) or np.unique(np.concatenate([x, y])).size == 1:
        return Classified(Label.PASS, "both sides are the same")
    try:
        return _tested(x, y, present, terms)
    except NoSpread as error:
        return Classified(Label.ERROR, f"Metric Classification Failed: {error}", deviation=deviation)


def _without_data(terms: Terms) -> Classified:
    if terms.options.nan_strategy == "replace" and terms.fail_open.replace_passes:
        return Classified(Label.PASS, "no data, and gaps count as zero")
    if terms.must_have_data and not terms.critical:
        return Classified(Label.NO_DATA_FAIL, "no data where there must be")
    return Classified(Label.NO_DATA, "no data", critical=terms.critical)


def _tested(x: Array, y: Array, raw: list[Array], terms: Terms) -> Classified:
    inflation = 1.0 if terms.fail_open.ignore_autocorrelation else autocorrelation_inflation(*raw)
    ranked = (x, y)
    if series.constant(x) and series.constant(y):
        ranked, inflation = (series.jittered(x), series.jittered(y)), 1.0
    found = shift(
        *ranked,
        confidence=terms.confidence,
        absolute=terms.fail_open.absolute_tolerance,
        inflation=inflation,
    )
    bound = terms.tolerance * abs(found.estimate)
    up = terms.direction in (Direction.INCREASE, Direction.EITHER)
    down = terms.direction in (Direction.DECREASE, Direction.EITHER)
    effect, allowed = _effect(x, y, terms), _limits(terms.options.effect_size)
    deviation = mean_ratio(x, y)
    if up and found.low > bound and (effect is None or effect >= allowed[0]):
        critical = terms.critical and _exceeds(effect, allowed[2], x, y, terms)
        return Classified(Label.HIGH, "the metric is higher", critical, deviation, found)
    if down and found.high < -bound and (effect is None or effect <= allowed[1]):
        critical = terms.critical and (effect is None or effect <= allowed[3])
        return Classified(Label.LOW, "the metric is lower", critical, deviation, found)
    if not terms.fail_open.any_sample_size and not _proven(found, y, terms, up=up, down=down):
        return Classified(Label.TOO_FEW, "the interval is wider than the tolerance", False, deviation, found)
    return Classified(Label.PASS, "", deviation=deviation, shift=found)


def _proven(found: Shift, control: Array, terms: Terms, *, up: bool, down: bool) -> bool:
    """Whether the interval rules out a shift beyond the tolerance of control's median (or the floor)."""
    room = max(terms.regression * abs(float(np.median(control))), terms.floor or 0.0)
    return (not up or found.high <= room) and (not down or found.low >= -room)


def _effect(x: Array, y: Array, terms: Terms) -> float | None:
    """The effect size; None where Kayenta's is NaN and its thresholds are skipped."""
    if terms.options.effect_size.measure == "cles":
        return common_language(x, y)
    if x.mean() != 0 and y.mean() != 0:
        return float(x.mean() / y.mean())
    if terms.fail_open.zero_mean_skips_effect:
        return None
    return 0.0 if x.mean() == 0 else float("inf")


def _exceeds(effect: float | None, limit: float, x: Array, y: Array, terms: Terms) -> bool:
    """Whether an increase is critical. From a mean of zero any ratio is infinite: there the floor decides."""
    if effect is None:
        return True
    if np.isfinite(effect):
        return effect >= limit
    return terms.floor is not None and float(x.mean() - y.mean()) >= terms.floor


def _limits(size: EffectSize) -> tuple[float, float, float, float]:
    """Allowed increase and decrease, critical increase and decrease; the defaults filter nothing."""
    usual = 0.5 if size.measure == "cles" else 1.0
    given = (size.allowed_increase, size.allowed_decrease, size.critical_increase, size.critical_decrease)
    first, second, third, fourth = (usual if each is None else each for each in given)
    return first, second, third, fourth


def mean_ratio(x: Array, y: Array) -> float | None:
    """Mean over mean; None when either is zero."""
    if x.mean() == 0 or y.mean() == 0:
        return 1.0 if x.mean() == y.mean() else None
    return float(x.mean() / y.mean())


def common_language(x: Array, y: Array) -> float:
    """McGraw and Wong's common language effect size: the chance that an x is above a y, ties half."""
    greater = np.sum(x[:, None] > y[None, :]) + 0.5 * np.sum(x[:, None] == y[None, :])
    return float(greater / (x.size * y.size))
