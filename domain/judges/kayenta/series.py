"""What is done to a series before it is tested: gaps, outliers, constants."""

from typing import Final

import numpy as np
from scipy.special import ndtri

from domain.judges.evidence import Array
from domain.judging import MetricOptions

JITTER: Final = 1e-5  # of the value: noise that tells two constants apart


def without_gaps(values: Array, options: MetricOptions, *, zero_for_gaps: bool = True) -> Array:
    """The values that are there; under `replace`, zeros where they are not."""
    known = np.isfinite(values)
    if options.nan_strategy == "replace" and zero_for_gaps:
        return np.where(known, values, 0.0)
    return values[known]


def cleaned(values: Array, options: MetricOptions) -> Array:
    """Without outliers, where the options ask for that. Each side is measured by its own quartiles."""
    if options.outliers == "keep" or values.size == 0:
        return values
    low, high = fences(values, options.outlier_factor, reduce_sensitivity=True)
    return values[(values >= low) & (values <= high)]


def fences(values: Array, factor: float, *, reduce_sensitivity: bool) -> tuple[float, float]:
    """Tukey's fences; with reduced sensitivity never inside the 1st and 99th percentile (R-7)."""
    first, third, lowest, highest = np.percentile(values, [25, 75, 1, 99])
    reach = factor * (third - first)
    low, high = float(first - reach), float(third + reach)
    return (min(low, float(lowest)), max(high, float(highest))) if reduce_sensitivity else (low, high)


def jittered(values: Array) -> Array:
    """A constant with noise of 1e-5 of its value, so that ranks differ; zeros stay.

    Kayenta draws the noise; here it is the normal quantiles themselves, so that a verdict can be repeated.
    """
    places = (np.arange(values.size) + 0.5) / values.size
    noisy: Array = values + np.abs(values) * JITTER * ndtri(places)
    return noisy


def constant(values: Array) -> bool:
    """Whether all values are the same."""
    return bool(np.all(values == values[0]))
