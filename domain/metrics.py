"""What judges read: metrics, and what each node did of them in disjoint intervals of time.

Providers fill a `JudgeLook` per look. Every look brings only what is new since the look before, so that a
judge counts nothing twice; what it remembers between looks is its own state (domain.judging).

A measurement that is not there is None. So is one that is not a finite number: judges treat NaN and
infinities as absent (and what is beyond 1e100), never as zero and never as good news.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from domain.base import Frozen, Strict

MetricName = Annotated[str, Field(min_length=1, max_length=200)]
Row = tuple[float | None, ...]
HUGE = 1e100  # no measurement is larger, and what is smaller than its inverse is zero


class MetricKind(StrEnum):
    """What the numbers of a metric are.

    gauge: a level, averaged over an interval (CPU, memory, a mean that a provider computed).
    latency: a distribution: bucket counts per interval. With `values` only, it is judged as a gauge.
    counter: events per second of observation (restarts, time-outs).
    ratio: events out of requests (errors, unhealthy probes).
    """

    GAUGE = "gauge"
    LATENCY = "latency"
    COUNTER = "counter"
    RATIO = "ratio"


class Direction(StrEnum):
    """Which change is a regression."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class MetricSpec(Strict):
    """One metric and what its policy says about it.

    Attributes:
        unit: "%" for shares, "s", "bytes", "cores", or any other word; for people only.
        margin: a relative change up to this size is no regression: fail means "more than this".
        tolerance: the largest relative regression that may be promoted: pass means "less than this".
            It must be larger than the margin.
        floor: a share or rate so small that nobody minds it, in the metric's own unit: a canary that is
            certified to stay below passes whatever the ratio is. None when even one event matters.
        groups: names of the groups that a score is reported for; weights are the policy's.
        critical: a fail is decided on this metric alone and needs no score.
        must_have_data: measured on neither side is inconclusive; otherwise such a metric is left out.
        dry_run: judged and shown, but without a say in the verdict.
    """

    name: MetricName
    kind: MetricKind
    unit: str = Field(default="", max_length=40)
    direction: Direction = Direction.INCREASE
    margin: float = Field(default=0.05, ge=0, le=10)
    tolerance: float = Field(default=0.25, gt=0, le=1000)
    floor: float | None = Field(default=None, gt=0)
    groups: tuple[str, ...] = Field(default=(), max_length=50)
    critical: bool = False
    must_have_data: bool = False
    dry_run: bool = False

    @model_validator(mode="after")
    def _tolerance_leaves_room(self) -> Self:
        if self.tolerance <= self.margin:
            raise ValueError("tolerance must be larger than margin")
        return self


class Side(Frozen):
    """One side of one metric: a row per node, a column per interval.

    Attributes:
        nodes: their names; for a provider that knows no nodes, one row under any name.
        values: gauge: the mean over the interval; counter and ratio: events in it; latency without
            distribution: the mean.
        exposure: ratio: requests in the interval; counter: seconds that were observed.
        buckets: latency: observations per bucket in the interval (not cumulative), one more than there
            are bounds; the last is what lies above all bounds.
        samples: how many measurements stand behind each node's row; 0 for a node that was silent.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True)

    nodes: tuple[str, ...] = ()
    values: tuple[Row, ...] = ()
    exposure: tuple[Row, ...] = ()
    buckets: tuple[tuple[tuple[float, ...] | None, ...], ...] = ()
    samples: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        for name, rows in (("values", self.values), ("exposure", self.exposure), ("buckets", self.buckets)):
            if rows and len(rows) != len(self.nodes):
                raise ValueError(f"{name}: {len(rows)} rows for {len(self.nodes)} nodes")
            if rows and any(len(row) != len(rows[0]) for row in rows):
                raise ValueError(f"{name}: rows of different lengths")
        if self.samples and len(self.samples) != len(self.nodes):
            raise ValueError(f"samples: {len(self.samples)} for {len(self.nodes)} nodes")
        return self

    @property
    def intervals(self) -> int:
        """How many intervals the side covers."""
        for rows in (self.values, self.buckets, self.exposure):
            if rows:
                return len(rows[0])
        return 0


class MetricLook(Frozen):
    """One metric in one look.

    Attributes:
        bounds: latency: upper bounds of the buckets in the metric's unit, ascending, without +Inf.
        canary, baseline: the same intervals on both sides.
        history_canary, history_baseline: the same nodes before the change, in intervals of the same
            length: an A/A comparison that the judge calibrates itself on. Needed with the first look
            only; judges ignore it later.
        provider_down: why the provider gave nothing, in words; "" when it answered.
    """

    spec: MetricSpec
    bounds: tuple[float, ...] = ()
    canary: Side = Side()
    baseline: Side = Side()
    history_canary: Side = Side()
    history_baseline: Side = Side()
    provider_down: str = ""

    @property
    def intervals(self) -> int:
        """How many intervals the look brings; a side that is silent may bring none."""
        return max(self.canary.intervals, self.baseline.intervals)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(b <= a for a, b in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ValueError("bounds must ascend")
        wanted = len(self.bounds) + 1
        for side in (self.canary, self.baseline, self.history_canary, self.history_baseline):
            if any(bucket is not None and len(bucket) != wanted for row in side.buckets for bucket in row):
                raise ValueError(f"{self.spec.name}: {wanted} buckets are needed for {wanted - 1} bounds")
        sides = [side for side in (self.canary, self.baseline) if side.intervals]
        if len(sides) == 2 and sides[0].intervals != sides[1].intervals:
            raise ValueError(f"{self.spec.name}: canary and baseline cover different intervals")
        return self


class JudgeLook(Frozen):
    """Everything that is new since the last look.

    Attributes:
        number: 1 for the first look; each look is judged once, in order.
        start, end: seconds since the epoch; looks do not overlap.
        step: length of an interval in seconds.
        canary_nodes, baseline_nodes: how many nodes should have answered.
        expected_share: the share of requests that the canary should get where the traffic split is known
            (0..1); None where it is not, then the split is not tested.
        canary_requests, baseline_requests: requests of this look on each side, where they are known.
        baseline_fault: why the baseline cannot be compared with (not fresh, overlapping); "" when it can.
    """

    number: int = Field(ge=1)
    start: float
    end: float
    step: float = Field(gt=0)
    metrics: tuple[MetricLook, ...] = Field(default=(), max_length=1000)
    canary_nodes: int = 0
    baseline_nodes: int = 0
    expected_share: float | None = Field(default=None, gt=0, lt=1)
    canary_requests: float | None = None
    baseline_requests: float | None = None
    baseline_fault: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.end < self.start:
            raise ValueError("a look ends before it starts")
        names = [metric.spec.name for metric in self.metrics]
        if len(names) != len(dict.fromkeys(names)):
            raise ValueError("two metrics have the same name")
        return self
