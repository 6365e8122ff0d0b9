"""Events against events: errors, restarts, time-outs, requests.

Given that N events happened on both sides together, and that the canary had r times the baseline's exposure
(requests, seconds), the canary's share of them is binomial with p = δr/(1+δr), where δ is the ratio of the
rates. The rates themselves cancel: load that changes, shared incidents and a baseline of zero need no care,
and r may change from interval to interval (Lindon and Malek 2022, Anytime-valid inference for
multinomial count data; exact for Poisson counts, conservative for shares at δ = 1).
"""

from typing import Final

import numpy as np

from domain.judges.evidence import Array, log_mean

STEP: Final = np.log(1.25) / 4  # of the grid of ratios, on a log scale
STRIDES: Final = np.array([4, 8, 12, 16, 24, 40])  # alternatives, in steps: ×1.25 … ×9.3
BELOW, ABOVE = 130, 130  # the grid's reach in steps to both sides of the tolerance
PRIOR_EVENTS: Final = 40.0  # events that a measured dispersion must outweigh
SHARES: Final = np.array([0.02, 0.1, 0.25, 0.5, 0.75])  # alternatives below a floor, as shares of it


def log_likelihood(ratios: Array, canary: Array, events: Array, exposure: Array) -> Array:
    """The log-likelihood of ratios of rates, up to a constant; last axis: ratios.

    Σ x·ln δ − N·ln(1 + δr) over the intervals (last axis of canary, events and exposure ratio).
    """
    gained = np.sum(canary, axis=-1)[..., None] * np.log(ratios)
    spread: Array = np.sum(events[..., None, :] * np.log1p(ratios[:, None] * exposure[..., None, :]), axis=-1)
    result: Array = gained - spread
    return result


def worse_than(limit: float) -> Array:
    """The limit, followed by the alternatives above it."""
    ratios: Array = limit * np.exp(STEP * np.concatenate(([0], STRIDES)))
    return ratios


def better_than(limit: float) -> Array:
    """The limit, followed by the alternatives below it."""
    ratios: Array = limit * np.exp(-STEP * np.concatenate(([0], STRIDES)))
    return ratios


def against_limit(likelihood: Array, dispersion: Array | float) -> Array:
    """Log-likelihood ratios of alternatives (after the first) against the limit (first of the last axis).

    Dividing by the dispersion ψ keeps over-dispersed counts honest: E^(1/ψ) is the e-value of counts whose
    variance is ψ times the binomial one, to second order.
    """
    result: Array = (likelihood[..., 1:] - likelihood[..., :1]) / np.asarray(dispersion)[..., None]
    return result


def ratio_grid(limit: float) -> Array:
    """Ratios at which the likelihood is kept for the confidence interval; the limit is one of them."""
    ratios: Array = limit * np.exp(STEP * np.arange(-BELOW, ABOVE + 1))
    return ratios


def upper_evidence(grid: Array) -> Array:
    """For each ratio of the grid with room below: log evidence that the true ratio is smaller."""
    size = grid.shape[-1]
    first = int(STRIDES.max())
    starts = np.arange(first, size)
    gained = grid[..., starts[:, None] - STRIDES] - grid[..., starts][..., None]
    return log_mean(gained)


def ratio_bounds(
    likelihood: Array, limit: float, dispersion: float, needed: float
) -> tuple[float | None, float | None]:
    """Lowest and highest ratio that the data still allow, each at the given log evidence; None: unbounded.

    The confidence sequence {δ : E(δ) < 1/α}, by inverting the one-sided tests on the grid (5.7 % wide, linear
    in log δ between its points).
    """
    ratios = np.log(ratio_grid(limit))
    first = int(STRIDES.max())
    scaled = likelihood / dispersion
    high = _crossing(ratios[first:], upper_evidence(scaled), needed)
    low = _crossing(-ratios[::-1][first:], upper_evidence(scaled[..., ::-1]), needed)
    return (None if low is None else float(np.exp(-low)), None if high is None else float(np.exp(high)))


def _crossing(where: Array, evidence: Array, needed: float) -> float | None:
    """The place from which on the evidence stays above what is needed; None where it never does."""
    below = np.flatnonzero(evidence < needed)
    if below.size == 0:
        return float(where[0])
    last = int(below[-1])
    if last + 1 >= where.size:
        return None
    rise = evidence[last + 1] - evidence[last]
    return float(where[last] + (where[last + 1] - where[last]) * (needed - evidence[last]) / rise)


def dispersion(canary: Array, events: Array, exposure: Array) -> Array:
    """ψ ≥ 1: Pearson's dispersion of the same statistic on history without a change; last axis: intervals.

    Σ (x − Np)² / Σ Np(1−p), taken for intervals, blocks of 5 and of 15 (events may come in bursts longer than
    an interval), the largest; pulled towards 1 while the history holds few events.
    """
    total = np.sum(events, axis=-1)
    worst = np.ones(total.shape)
    for length in (1, 5, 15):
        blocks = events.shape[-1] // length
        if blocks < 8:
            continue
        centred = canary - events * exposure / (1 + exposure)
        spread = events * exposure / (1 + exposure) ** 2
        cut = blocks * length
        shape = (*total.shape, blocks, length)
        squares = np.sum(np.sum(centred[..., :cut].reshape(shape), axis=-1) ** 2, axis=-1)
        found = squares / np.maximum(np.sum(spread[..., :cut], axis=-1), 1e-300)
        error = np.sqrt(0.5 / blocks)  # half a standard error of a variance
        worst = np.maximum(worst, np.where(total > 0, found, 1.0) / (1.0 + error))
    result: Array = 1.0 + (worst - 1.0) * total / (total + PRIOR_EVENTS)
    return result


def dispersion_of(canary: Array, baseline: Array, exposure: Array, other: Array) -> Array:
    """ψ from events and exposures of both sides; intervals that one side lacks are left out."""
    both = (exposure > 0) & (other > 0)
    ratio = np.where(both, exposure / np.where(both, other, 1.0), 1.0)
    return dispersion(np.where(both, canary, 0.0), np.where(both, canary + baseline, 0.0), ratio)


def below_floor(floor: float, happened: Array, exposure: Array, *, share: bool) -> Array:
    """Log-likelihood ratios (last axis) that the canary's own share or rate is below the floor.

    Bernoulli for shares, Poisson for rates. The product is an e-process whatever the rate does as long as it
    is not below the floor, so no baseline is needed.
    """
    lower = floor * SHARES
    happened, exposure = happened[..., None], exposure[..., None]
    if share:
        quiet = np.maximum(exposure - happened, 0.0)
        none = np.log1p(-np.minimum(lower, 1 - 1e-12)) - np.log1p(-min(floor, 1 - 1e-12))
        result: Array = happened * np.log(SHARES) + quiet * none
        return result
    rate: Array = happened * np.log(SHARES) - exposure * (lower - floor)
    return rate


def rate_ceiling(happened: float, exposure: float, needed: float, *, share: bool) -> float | None:
    """The largest share or rate that the canary's own events still allow; None while any is possible."""
    if exposure <= 0:
        return None
    low, high = np.log(1e-9), np.log(1.0 - 1e-9) if share else np.log(1e9)

    def proven(log_rate: float) -> bool:
        gained = below_floor(float(np.exp(log_rate)), np.array(happened), np.array(exposure), share=share)
        return bool(log_mean(gained) >= needed)

    if not proven(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if proven(middle) else (middle, high)
    return float(np.exp(high))
