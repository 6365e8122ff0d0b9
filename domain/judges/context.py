"""Where a metric's tests stand: what all metrics of one look share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from domain.judges import blocks
from domain.judges.evidence import Array
from domain.metrics import MetricLook


@dataclass(frozen=True, slots=True)
class Context:
    """One look, for one metric.

    Attributes:
        look, planned: this look's number, and of how many.
        step: length of an interval in seconds.
        seen: intervals so far, this look included.
        alpha: this metric's share of the error rate.
    """

    look: int
    planned: int
    step: float
    seen: int
    alpha: float

    @property
    def needed(self) -> float:
        """The log evidence that decides."""
        return float(np.log(1.0 / self.alpha))

    def minutes(self, intervals: float) -> float:
        """How long so many intervals last."""
        return intervals * self.step / 60.0


@dataclass(frozen=True, slots=True)
class Crews:
    """Both sides' nodes, fixed by the first look."""

    canary: blocks.Members
    baseline: blocks.Members

    @classmethod
    def of(cls, metric: MetricLook, stored: Mapping[str, JsonValue]) -> "Crews":
        """Those of the first look where they were few enough to be kept, else those of this one."""
        kept = [stored.get(side) for side in ("canary_nodes", "baseline_nodes")]
        given = [metric.canary.nodes, metric.baseline.nodes]
        crews = [
            blocks.members([str(name) for name in names])
            if isinstance(names, list)
            else blocks.members(now, many=bool(stored))
            for names, now in zip(kept, given, strict=True)
        ]
        return cls(*crews)

    def keep(self) -> dict[str, JsonValue]:
        """The names, of a side that has few; large sides are known by their blocks."""
        sides = {"canary_nodes": self.canary, "baseline_nodes": self.baseline}
        return {side: list(crew.names) for side, crew in sides.items() if crew.single}

    @property
    def variants(self) -> int:
        """All nodes, and without each block of either side that has more than one."""
        return 1 + sum(crew.blocks for crew in (self.canary, self.baseline) if crew.blocks > 1)

    @property
    def baseline_variants(self) -> list[int]:
        """The variants that a certificate must hold in: all nodes, and without a baseline block each."""
        others = self.baseline.blocks if self.baseline.blocks > 1 else 0
        return [0, *range(self.variants - others, self.variants)]

    def loud(self, against: Array) -> tuple[tuple[str, ...], bool]:
        """The nodes without which the evidence is smallest, and whether they are canary nodes."""
        if self.variants == 1:
            return (), False
        variant = int(np.argmin(against[1:]))
        ours = self.canary.blocks if self.canary.blocks > 1 else 0
        crew, block = (self.canary, variant) if variant < ours else (self.baseline, variant - ours)
        names = tuple(name for name, place in zip(crew.names, crew.block, strict=True) if place == block)
        return names, variant < ours
