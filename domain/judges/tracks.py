"""Series that are tested as levels: what is kept of them, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from domain.judges import drift, memory, signals
from domain.judges.context import Context, Crews
from domain.judges.evidence import Array
from domain.judges.findings import Finding
from domain.judges.streams import LevelStream

Stored = dict[str, JsonValue]
SETTLED = 5  # intervals that a pass needs at least


@dataclass(slots=True)
class Track:
    """One tested series and its calibration."""

    stream: LevelStream
    noise: drift.Noise

    @classmethod
    def begin(cls, history: Array, sampling: Array) -> "Track":
        """Calibrated on the differences before the change."""
        return cls(LevelStream.empty(history.shape[:-1]), drift.learn(history, sampling))

    @classmethod
    def recall(cls, kept: JsonValue) -> "Track":
        """The track that was kept.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(kept, dict):
            raise TypeError("no stored series")
        return cls(
            memory.recall_all(LevelStream, kept["stream"]), memory.recall_all(drift.Noise, kept["noise"])
        )

    def keep(self) -> Stored:
        """Plain JSON."""
        return {"stream": memory.keep_all(self.stream), "noise": memory.keep_all(self.noise)}

    def update(self, levels: signals.Levels, context: Context) -> None:
        """One look; a look without intervals is one in which nothing was measured."""
        if levels.difference.shape[-1] == 0:
            gap = np.full((*self.stream.last.shape, 1), np.nan)
            levels = signals.Levels(gap, gap, gap, gap)
        self.stream.update(
            difference=levels.difference,
            above_margin=levels.above_margin,
            below_tolerance=levels.below_tolerance,
            sampling=levels.sampling,
            noise=self.noise,
            look=context.look,
            planned=context.planned,
        )


@dataclass(frozen=True, slots=True)
class Side:
    """Both sides of what was seen: measured in this look, and means over all looks."""

    measured: tuple[bool, bool]
    ever: tuple[bool, bool]
    canary: float | None
    baseline: float | None


def finding(
    tracks: Sequence[Track],
    side: Side,
    crews: Crews,
    context: Context,
    *,
    tolerance: float,
    beside: Sequence[Array] = (),
) -> Finding:
    """What the tracks of one metric say together: the first one is what estimate and band are about.

    Evidence for a regression is the average over the tracks (and over `beside`, further log evidence of the
    same variants); a certificate must hold in each track.
    """
    each = [track.stream.against(context.look, context.planned) for track in tracks]
    against = averaged([*each, *beside])
    certified = np.min([track.stream.certified()[crews.baseline_variants].min() for track in tracks])
    loud, is_canary = crews.loud(against)
    main = tracks[0]
    middle = float(main.stream.estimate[0])
    precision, number = float(main.stream.information[0]), float(main.stream.number[0])
    low = high = None
    if number > 0:
        unit = precision / number
        width = drift.band(precision, unit, context.alpha) / precision
        low, high = float(np.exp(middle - width)), float(np.exp(middle + width))
    return Finding(
        measured=side.measured,
        ever=side.ever,
        canary=side.canary,
        baseline=side.baseline,
        against=float(against.min()),
        whole=float(against[0]),
        certified=float(certified),
        estimate=float(np.exp(middle)) if number > 0 else None,
        low=low,
        high=high,
        settled=number >= SETTLED,
        loud=loud,
        loud_is_canary=is_canary,
        minutes=_missing(tracks, context, tolerance),
    )


def averaged(evidence: Sequence[Array]) -> Array:
    """The log of the mean of several e-values, given as logarithms."""
    mean: Array = np.logaddexp.reduce(np.stack(evidence), axis=0) - np.log(len(evidence))
    return mean


def _missing(tracks: Sequence[Track], context: Context, tolerance: float) -> float | None:
    """Minutes to a certificate if the estimate stays as it is; None when it is beyond the tolerance."""
    lacking = context.needed + np.log(drift.BETS.size)
    stream, noise = tracks[0].stream, tracks[0].noise
    gap = float(np.log1p(tolerance) - max(0.0, float(stream.estimate[0])))
    if gap <= 0 or stream.number[0] < 1:
        return None
    rate = (gap * (1.0 - float(noise.phi[0])) / float(noise.spread[0])) ** 2 / 2
    worst = min(float(track.stream.certified()[0]) for track in tracks)
    return context.minutes(max(1.0, float(lacking - max(worst, 0.0)) / max(rate, 1e-9)))
