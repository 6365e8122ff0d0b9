"""What the tests of one metric found, before anybody decides what it means."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric after a look. Evidence is in logarithms.

    Attributes:
        measured: whether this look brought anything new: (canary, baseline).
        ever: whether any look did.
        canary, baseline: both sides' values over all looks, in the metric's unit.
        against: for a regression beyond the margin, without whichever single node speaks loudest for it.
        whole: the same with all nodes.
        certified: that the regression is within the tolerance, whichever single baseline node is left out.
        estimate, low, high: canary over baseline.
        ceiling: the largest share or rate that the canary's own events allow.
        settled: whether there are enough intervals for a pass at all.
        loud: the node without which the evidence is smallest, and whether it is a canary node.
        events, minutes: what is missing to a certificate.
    """

    measured: tuple[bool, bool]
    ever: tuple[bool, bool]
    canary: float | None = None
    baseline: float | None = None
    against: float = 0.0
    whole: float = 0.0
    certified: float = 0.0
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    ceiling: float | None = None
    below_floor: bool = False
    settled: bool = True
    loud: tuple[str, ...] = ()
    loud_is_canary: bool = False
    events: float | None = None
    minutes: float | None = None


def mirrored(finding: Finding) -> Finding:
    """The finding of a test whose sides were swapped, told of the sides as they are."""

    def inverse(ratio: float | None) -> float | None:
        return 1.0 / ratio if ratio else None

    return replace(
        finding,
        measured=(finding.measured[1], finding.measured[0]),
        ever=(finding.ever[1], finding.ever[0]),
        canary=finding.baseline,
        baseline=finding.canary,
        estimate=inverse(finding.estimate),
        low=inverse(finding.high),
        high=inverse(finding.low),
        ceiling=None,
        below_floor=False,
        loud_is_canary=not finding.loud_is_canary,
    )


def both_ways(up: Finding, down: Finding) -> Finding:
    """Two tests of one metric, for an increase and for a decrease: their mean is evidence for a change."""
    louder = up if up.against >= down.against else down
    least = up if up.certified <= down.certified else down
    return replace(
        up,
        against=_log_mean(up.against, down.against),
        whole=_log_mean(up.whole, down.whole),
        certified=least.certified,
        loud=louder.loud,
        loud_is_canary=louder.loud_is_canary,
        below_floor=False,
        ceiling=None,
        events=least.events,
        minutes=least.minutes,
    )


def _log_mean(one: float, other: float) -> float:
    top = max(one, other)
    return top + math.log((math.exp(one - top) + math.exp(other - top)) / 2)
