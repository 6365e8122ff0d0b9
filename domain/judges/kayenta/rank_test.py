"""The Mann-Whitney-Wilcoxon test with a confidence interval for the shift, as R's wilcox.test computes it.

Bauer (1972), Constructing confidence sets using rank statistics: the interval's ends are the shifts μ at
which the standardised rank sum of x−μ among (x−μ) ∪ y reaches ±z. Average ranks, correction for ties and for
continuity; the ends are searched with Brent's zeroin as netlib has it, to an *absolute* tolerance of 1e-4.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from domain.judges.evidence import Array

ABSOLUTE_TOLERANCE: Final = 1e-4
RELATIVE_TOLERANCE: Final = 1e-9  # of the bracket: no unit change matters
STEPS: Final = 1000
EPSILON: Final = sys.float_info.epsilon


class NoSpread(ArithmeticError):
    """All ranks are tied: the statistic has no variance."""


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much x is above y: confidence interval and estimate."""

    low: float
    high: float
    estimate: float


def standardised(shift: float, x: Array, y: Array, *, quantile: float = 0.0, inflation: float = 1.0) -> float:
    """W(μ): the standardised rank sum, less a quantile.

    Args:
        shift: μ, taken off x.
        x: experiment.
        y: control.
        quantile: taken off the result.
        inflation: of the variance, for points that are not independent.

    Raises:
        NoSpread: the variance is zero.
    """
    return _Ranks(x, y, inflation)(shift) - quantile


class _Ranks:
    """W(μ) for one pair of samples, sorted once."""

    def __init__(self, x: Array, y: Array, inflation: float) -> None:
        self._x, self._y, self._inflation = np.sort(x), np.sort(y), inflation
        self._own_ties = _ties(self._x) + _ties(self._y)

    def __call__(self, shift: float) -> float:
        moved = self._x - shift
        below = np.searchsorted(self._y, moved, side="left")
        upto = np.searchsorted(self._y, moved, side="right")
        m, k = moved.size, self._y.size
        number = m + k
        # x ties with y nowhere: then only the ties within each side count.
        apart = bool(np.array_equal(below, upto))
        ties = self._own_ties if apart else _ties(np.sort(np.concatenate([moved, self._y])))
        variance = m * k / 12 * ((number + 1) - ties / (number * (number - 1))) * self._inflation
        if variance <= 0:
            raise NoSpread("all values are equal")
        # The rank sum of x less its least value m(m+1)/2 is the number of pairs in which x is greater.
        excess = float(below.sum() + upto.sum()) / 2 - m * k / 2
        return (excess - math.copysign(0.5, excess) * (excess != 0)) / math.sqrt(variance)


def _ties(ordered: Array) -> float:
    """Σ t³ − t over groups of equal values."""
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    sizes = np.diff(edges).astype(float)
    return float(np.sum(sizes**3 - sizes))


def shift(x: Array, y: Array, *, confidence: float, absolute: bool, inflation: float = 1.0) -> Shift:
    """The confidence interval and the estimate.

    Args:
        x: experiment.
        y: control.
        confidence: of the two-sided interval.
        absolute: search to 1e-4 in the values' own unit, as Kayenta does.
        inflation: of the variance.

    Raises:
        NoSpread: nothing to be tested.
    """
    low, high = float(x.min() - y.max()), float(x.max() - y.min())
    tolerance = ABSOLUTE_TOLERANCE if absolute else RELATIVE_TOLERANCE * max(high - low, 1e-300)
    z = float(ndtri(1 - (1 - confidence) / 2))

    ranks = _Ranks(x, y, inflation)

    def end(quantile: float) -> float:
        def reached(place: float) -> float:
            return ranks(place) - quantile

        at_low, at_high = reached(low), reached(high)
        if at_low <= 0:
            return low
        if at_high >= 0:
            return high
        return zeroin(reached, low, high, tolerance)

    return Shift(low=end(z), high=end(-z), estimate=end(0.0))


def zeroin(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """A zero of a function that changes its sign between low and high.

    Brent (1973), Algorithms for Minimization Without Derivatives, chapter 4, in netlib's form.
    """
    a, b = low, high
    at_a, at_b = function(a), function(b)
    c, at_c = a, at_a
    for _ in range(STEPS):
        before = b - a
        if abs(at_c) < abs(at_b):
            a, b, c = b, c, b
            at_a, at_b, at_c = at_b, at_c, at_b
        least = 2 * EPSILON * abs(b) + tolerance / 2
        step = (c - b) / 2
        if abs(step) <= least or at_b == 0:
            break
        if abs(before) >= least and abs(at_a) > abs(at_b):
            step = _interpolated((a, b, c), (at_a, at_b, at_c), before, least)
        if abs(step) < least:
            step = least if step > 0 else -least
        a, at_a = b, at_b
        b += step
        at_b = function(b)
        if (at_b > 0) == (at_c > 0):
            c, at_c = a, at_a
    return b


def _interpolated(
    places: tuple[float, float, float], values: tuple[float, float, float], before: float, least: float
) -> float:
    """The step to the zero of a line or parabola through the last places; half the bracket if that is off."""
    (a, b, c), (at_a, at_b, at_c) = places, values
    width = c - b
    if a == c:
        ratio = at_b / at_a
        p, q = width * ratio, 1 - ratio
    else:
        q, first, second = at_a / at_c, at_b / at_c, at_b / at_a
        p = second * (width * q * (q - first) - (b - a) * (first - 1))
        q = (q - 1) * (first - 1) * (second - 1)
    p, q = (p, -q) if p > 0 else (-p, q)
    near = p < 0.75 * width * q - abs(least * q) / 2 and p < abs(before * q / 2)
    return p / q if near else width / 2


def autocorrelation_inflation(x: Array, y: Array) -> float:
    """How many times more a mean of these points varies than one of independent points.

    (1+φ)/(1−φ) with φ the lag-1 correlation of both series together, each about its own mean, with
    Kendall's correction of its bias; 1 when it is not positive.
    """
    centred = [side - side.mean() for side in (x, y)]
    number = sum(side.size for side in centred)
    variance = sum(float(np.sum(side**2)) for side in centred)
    if variance <= 0 or number < 8:
        return 1.0
    phi = sum(float(np.sum(side[1:] * side[:-1])) for side in centred) / variance
    corrected: float = min(0.95, max(0.0, phi + (1 + 3 * phi) / number - 2 / number))
    return (1 + corrected) / (1 - corrected)
