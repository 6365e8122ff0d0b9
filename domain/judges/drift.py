"""Levels against levels: log-ratios of gauges and latencies, made independent by what history taught.

A textbook sequential test on autocorrelated series fails almost always (95 % of harmless AR(1) series with
φ = 0.8). So each series is prewhitened: e(t) = D(t) − φ·D(t−1), with φ and the spread s of e learned from the
same nodes before the change, and scored by bets of several sizes: Σ λ·z − λ²/2 with z = e/s (a normal
mixture martingale; Robbins 1970; Howard et al. 2021), each z capped so that one outlier buys little.
What this rests on is φ and s: it is approximate where counts are exact.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from domain.judges.evidence import Array

BETS: Final = np.array([0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
CAP: Final = 4.0
INFLATION: Final = 1.1  # a spread learned from two hours is uncertain
BLOCKS: Final = (2, 4, 8, 16, 32)
CLEAR: Final = 2.5  # standard errors from which on a difference before the change is taken as lasting
ENOUGH: Final = 20  # intervals of history that a calibration needs
UNKNOWN_PHI, UNKNOWN_SPREAD = 0.8, 0.08  # without history


@dataclass(frozen=True, slots=True)
class Noise:
    """What a harmless difference looks like. Arrays over the leading axes of the series.

    Attributes:
        phi: correlation of neighbouring intervals.
        spread: standard deviation of the prewhitened series, long-memory correction included.
        sampling: the part of D's variance that was due to finite numbers of requests, on average.
        excess: the part that was not.
        offset: lowest and highest lasting difference that was there before the change, or zeros.
    """

    phi: Array
    spread: Array
    sampling: Array
    excess: Array
    offset_low: Array
    offset_high: Array

    def at(self, index: object) -> Self:
        """The same for a part of the leading axes."""
        return type(self)(*(getattr(self, name)[index] for name in self.__slots__))


def learn(history: Array, sampling: Array) -> Noise:
    """φ, s and the lasting difference, from D before the change; last axis: intervals, NaN where missing.

    φ is the lag-1 correlation with Kendall's (1954) correction of its bias. s is inflated by 10 %, and more
    when block sums of e vary more than independent ones would (blocks of 2 … 32 intervals, each reduced by
    its own standard error): that is what long memory looks like.
    """
    if history.shape[-1] < ENOUGH:
        return unknown(history.shape[:-1])
    known = np.isfinite(history)
    number = np.sum(known, axis=-1)
    mean = np.sum(np.where(known, history, 0.0), axis=-1) / np.maximum(number, 1)
    centred = np.where(known, history - mean[..., None], 0.0)
    variance = np.sum(centred**2, axis=-1) / np.maximum(number - 1, 1)
    pairs = np.maximum(np.sum(known[..., 1:] & known[..., :-1], axis=-1), 1)
    lag = np.sum(centred[..., 1:] * centred[..., :-1], axis=-1) / pairs
    rough = np.clip(lag / np.maximum(variance, 1e-300), -0.3, 0.99)
    phi = np.clip(rough + (1.0 + 3.0 * rough) / np.maximum(number, 1), 0.0, 0.98)
    enough = number >= ENOUGH
    phi = np.where(enough, phi, UNKNOWN_PHI)
    residual = centred[..., 1:] - phi[..., None] * centred[..., :-1]
    spread = np.sqrt(np.sum(residual**2, axis=-1) / np.maximum(number - 3, 1)) * INFLATION
    spread = np.where(enough, spread * np.sqrt(_long_memory(residual)), UNKNOWN_SPREAD)
    sampled = np.sum(np.where(known, sampling, 0.0), axis=-1) / np.maximum(number, 1)
    error = spread / (1.0 - phi) / np.sqrt(np.maximum(number, 1))
    low, high = mean - error, mean + error
    lasting = enough & (np.abs(mean) > CLEAR * error)
    zero = np.zeros(mean.shape)
    return Noise(
        phi=phi,
        spread=np.maximum(spread, 1e-4),
        sampling=np.where(enough, sampled, 0.0),
        excess=np.where(enough, np.maximum(variance - sampled, 0.0), UNKNOWN_SPREAD**2),
        offset_low=np.where(lasting, low, zero),
        offset_high=np.where(lasting, high, zero),
    )


def unknown(shape: tuple[int, ...]) -> Noise:
    """Without a history: wide, and strongly correlated."""
    zero = np.zeros(shape)
    usual = zero + UNKNOWN_SPREAD
    return Noise(zero + UNKNOWN_PHI, usual, zero, usual**2, zero, zero)


def _long_memory(residual: Array) -> Array:
    """How many times more block sums vary than independent terms would make them; at least 1."""
    number = residual.shape[-1]
    single = np.maximum(np.mean(residual**2, axis=-1), 1e-300)
    worst = np.ones(residual.shape[:-1])
    for length in BLOCKS:
        blocks = number // length
        if blocks < 3:
            break
        sums = np.sum(residual[..., : blocks * length].reshape(*residual.shape[:-1], blocks, length), axis=-1)
        found = np.mean(sums**2, axis=-1) / (length * single)
        worst = np.maximum(worst, found / (1.0 + np.sqrt(2.0 / blocks)))
    return worst


def standardise(series: Array, before: Array, sampling: Array, noise: Noise) -> tuple[Array, Array, Array]:
    """Prewhitened terms, each with its own weight and spread; last axis: intervals.

    Args:
        series: D, less what the hypothesis allows; NaN where an interval is missing.
        before: the last D of the look before; NaN at the start or after a gap.
        sampling: variance of each D by finite numbers of requests, so that traffic may change.
        noise: the calibration.

    Returns:
        e(t), the share g(t) of a lasting difference that it shows (1−φ, or √(1−φ²) after a gap), and s(t).
        All are NaN where the interval is missing.
    """
    earlier = np.concatenate([before[..., None], series[..., :-1]], axis=-1)
    follows = np.isfinite(earlier)
    phi = noise.phi[..., None]
    alone = np.sqrt(1.0 - phi**2)
    terms = np.where(follows, series - phi * np.where(follows, earlier, 0.0), series * alone)
    shows = np.where(follows, 1.0 - phi, alone)
    usual = noise.excess + noise.sampling
    scale = (noise.excess[..., None] + sampling) / np.maximum(usual, 1e-300)[..., None]
    spread = noise.spread[..., None] * np.sqrt(np.where(usual[..., None] > 0, np.maximum(scale, 0.01), 1.0))
    missing = ~np.isfinite(series)
    return (
        np.where(missing, np.nan, terms),
        np.where(missing, np.nan, shows),
        np.where(missing, np.nan, spread),
    )


def gains(terms: Array, spread: Array, weights: Array) -> Array:
    """What each bet (last axis) gained over the intervals: Σ bz − b²/2 with z = e/s capped at 4.

    Weights say how much of a lasting difference each term shows, so that the bets match what a real one would
    look like: its first interval shows more of it than those that follow. No bet b = λw is larger than the
    cap: more could not be won.
    """
    scores = np.minimum(terms / spread, CAP)
    known = np.isfinite(scores)
    scores, weights = np.where(known, scores, 0.0), np.where(known, weights, 0.0)
    bets = np.minimum(weights[..., None] * BETS, CAP)
    result: Array = np.sum(bets * scores[..., None] - bets**2 / 2, axis=-2)
    return result


def weights(shows: Array, phi: Array, *, begins: bool) -> Array:
    """Bet sizes relative to those in the middle of a lasting difference; last axis: intervals.

    When the difference begins with this look, the first term shows all of it, not the share 1−φ.
    """
    relative: Array = shows / (1.0 - phi[..., None])
    if begins:
        first = np.maximum(relative[..., :1], 1.0 / (1.0 - phi[..., None]))
        relative = np.concatenate([first, relative[..., 1:]], axis=-1)
    return relative


def band(precision: float, unit: float, alpha: float) -> float:
    """Half the width of a one-sided confidence sequence, times the precision.

    The normal-mixture boundary √(2(V+ρ)·ln(1 + √((V+ρ)/ρ)/(2α))) of Robbins (1970), in the one-sided form of
    Howard, Ramdas, McAuliffe and Sekhon (2021), for intrinsic time V; ρ is tuned to 30 intervals of the given
    information.
    """
    rho = 2.5 * unit
    spread = np.sqrt((precision + rho) / rho)
    return float(np.sqrt(2.0 * (precision + rho) * np.log1p(spread / (2.0 * alpha))))
