"""Running tests of one metric, in numbers only: what they remember, and what one more look does to it.

Leading axes are free: the judge has one axis of variants (all nodes; without node 1; without node 2; …), the
benchmark has repetitions before it. The last axis of inputs are the intervals of one look.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.judges import counts, drift
from domain.judges.evidence import (
    Array,
    begin,
    log_mean,
    restarted,
    restarted_evidence,
)

WINDOW: Final = 5  # intervals before outliers are clipped around the estimate


@dataclass(slots=True)
class LevelStream:
    """Log-ratios of a gauge, or of one property of a latency distribution.

    `worse` bets that the ratio is above the margin; `better` that it is below the tolerance; `information`
    and `weighted` are the sums behind estimate and confidence band.
    """

    worse: Array
    better: Array
    last_worse: Array
    last_better: Array
    last: Array
    weighted: Array
    information: Array
    number: Array

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "LevelStream":
        """Nothing seen yet."""
        bets = (*shape, drift.BETS.size)
        gap = np.full(shape, np.nan)
        zero = np.zeros(shape)
        return cls(begin(bets), np.zeros(bets), gap, gap, gap, zero, zero, zero)

    def update(
        self,
        *,
        difference: Array,
        above_margin: Array,
        below_tolerance: Array,
        sampling: Array,
        noise: drift.Noise,
        look: int,
        planned: int,
    ) -> None:
        """One look.

        Args:
            difference: D for the estimate.
            above_margin: D less ln(1 + margin): at most 0 on average while there is no regression.
            below_tolerance: ln(1 + tolerance) less D: at most 0 on average when the regression is too large.
            sampling: variance of each D by finite numbers of requests.
            noise: the calibration.
            look: its number.
            planned: of how many.
        """
        clear = above_margin - noise.offset_high[..., None]
        terms, shows, spread = drift.standardise(clear, self.last_worse, sampling, noise)
        going_on = drift.gains(terms, spread, drift.weights(shows, noise.phi, begins=False))
        beginning = drift.gains(terms, spread, drift.weights(shows, noise.phi, begins=look > 1))
        self.worse = restarted(self.worse, going_on, beginning, look, planned)
        self.last_worse = clear[..., -1]
        safe = below_tolerance + noise.offset_low[..., None]
        terms, shows, spread = drift.standardise(safe, self.last_better, sampling, noise)
        self.better = self.better + drift.gains(terms, spread, drift.weights(shows, noise.phi, begins=False))
        self.last_better = safe[..., -1]
        self._estimate(difference, sampling, noise)

    def _estimate(self, difference: Array, sampling: Array, noise: drift.Noise) -> None:
        middle = (noise.offset_low + noise.offset_high)[..., None] / 2
        terms, shows, spread = drift.standardise(difference - middle, self.last, sampling, noise)
        centre = shows * self.estimate[..., None]
        limit = np.where(self.number[..., None] >= WINDOW, drift.CAP, 3 * drift.CAP) * spread
        settled = self.number[..., None] >= WINDOW
        terms = np.where(settled, centre + np.clip(terms - centre, -limit, limit), terms)
        self.weighted = self.weighted + np.nansum(terms * shows / spread**2, axis=-1)
        self.information = self.information + np.nansum(shows**2 / spread**2, axis=-1)
        self.number = self.number + np.sum(np.isfinite(terms), axis=-1)
        self.last = (difference - middle)[..., -1]

    @property
    def estimate(self) -> Array:
        """The mean log-ratio so far; 0 before anything was seen."""
        result: Array = self.weighted / np.maximum(self.information, 1e-300)
        return result

    def against(self, look: int, planned: int) -> Array:
        """Log evidence that the release is worse than the margin allows."""
        return restarted_evidence(self.worse, look, planned)

    def certified(self) -> Array:
        """Log evidence that the regression is smaller than the tolerance."""
        return log_mean(self.better)


@dataclass(slots=True)
class CountStream:
    """Events out of an exposure, canary against baseline.

    `grid` is the log-likelihood of many ratios, for the confidence interval; `events` and `exposure` are the
    canary's own totals, for the ceiling.
    """

    worse: Array
    better: Array
    grid: Array
    canary: Array
    baseline: Array
    canary_exposure: Array
    baseline_exposure: Array

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "CountStream":
        """Nothing seen yet."""
        alternatives = (*shape, counts.STRIDES.size)
        zero = np.zeros(shape)
        grid = np.zeros((*shape, counts.BELOW + counts.ABOVE + 1))
        return cls(begin(alternatives), np.zeros(alternatives), grid, zero, zero, zero, zero)

    def update(
        self,
        *,
        canary: Array,
        baseline: Array,
        canary_exposure: Array,
        baseline_exposure: Array,
        margin: float,
        tolerance: float,
        dispersion: Array,
        look: int,
        planned: int,
    ) -> None:
        """One look: events and exposures per interval; intervals that one side lacks are left out."""
        usable = (
            np.isfinite(canary + baseline + canary_exposure + baseline_exposure)
            & (canary_exposure > 0)
            & (baseline_exposure > 0)
        )
        x, y, ours, theirs = (
            np.where(usable, each, 0.0) for each in (canary, baseline, canary_exposure, baseline_exposure)
        )
        ratio = np.where(usable, ours / np.where(usable, theirs, 1.0), 1.0)

        def likelihood(ratios: Array) -> Array:
            return counts.log_likelihood(ratios, x, x + y, ratio)

        worse = likelihood(counts.worse_than(1.0 + margin))
        gained = counts.against_limit(worse, dispersion)
        self.worse = restarted(self.worse, gained, gained, look, planned)
        better = likelihood(counts.better_than(1.0 + tolerance))
        self.better = self.better + counts.against_limit(better, dispersion)
        self.grid = self.grid + likelihood(counts.ratio_grid(1.0 + tolerance))
        self.canary = self.canary + np.sum(x, axis=-1)
        self.baseline = self.baseline + np.sum(y, axis=-1)
        self.canary_exposure = self.canary_exposure + np.sum(ours, axis=-1)
        self.baseline_exposure = self.baseline_exposure + np.sum(theirs, axis=-1)

    def against(self, look: int, planned: int) -> Array:
        """Log evidence that the release is worse than the margin allows."""
        return restarted_evidence(self.worse, look, planned)

    def certified(self) -> Array:
        """Log evidence that the regression is smaller than the tolerance."""
        return log_mean(self.better)
