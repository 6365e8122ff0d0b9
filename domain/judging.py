"""The judges' contract: `judge(policy, state, look)` gives a verdict and the state for the next look.

A judge is a pure function. Its state is plain JSON of bounded size per metric, kept with the look that made
it: a look can be judged again from the stored state before it and its stored input, with the same result.
"""

from typing import Literal, Protocol

from pydantic import Field, JsonValue

from domain.analysis import Verdict
from domain.base import Frozen, Strict
from domain.increments import NodeIntervals
from domain.metrics import JudgeLook

JudgeName = Literal["sequential", "threshold", "mann-whitney"]


class Thresholds(Strict):
    """Limits of the threshold judge: a relative increase that matters only above an absolute floor.

    Defaults of the increases: errors +50 %, latency +100 %, CPU +30 %, memory +30 %. The floors keep a
    zero or tiny baseline from turning noise into a verdict.
    """

    errors_increase: float = Field(default=0.5, ge=0)
    errors_floor: float = Field(default=0.005, ge=0, le=1)
    errors_minimum: int = Field(default=5, ge=1)
    latency_increase: float = Field(default=1.0, ge=0)
    latency_floor: float = Field(default=0.025, ge=0)
    cpu_increase: float = Field(default=0.3, ge=0)
    cpu_floor_cores: float = Field(default=0.15, ge=0)
    memory_increase: float = Field(default=0.3, ge=0)
    memory_floor_bytes: float = Field(default=32 * 1024 * 1024, ge=0)
    unhealthy_floor: float = Field(default=0.1, ge=0, le=1)
    minimum_requests: int = Field(default=50, ge=1)
    minimum_samples: int = Field(default=3, ge=2)


class FailOpen(Strict):
    """Switches of the mann-whitney judge, all off by default.

    Each brings back one behaviour of Kayenta that lets a release through for no good reason.
    """

    error_passes: bool = False  # D1: a metric that cannot be computed is left out, critical or not
    absolute_tolerance: bool = False  # D2: roots to 1e-4 in the metric's unit, so that a unit change decides
    any_sample_size: bool = False  # D3, D4, D10: no minimum number of points
    zero_mean_skips_effect: bool = False  # D5: a zero mean on either side disables the effect size
    replace_passes: bool = False  # D6: no data is left out, and passes under nanStrategy replace
    dilution: bool = False  # D7: enough metrics that pass outvote one that fails
    marginal_fails: bool = False  # D8: a score equal to marginal ends the run
    ignore_autocorrelation: bool = False  # D9: points in a row count as independent ones

    @classmethod
    def kayenta(cls) -> "FailOpen":
        """All of them: equal to Kayenta."""
        return cls(**dict.fromkeys(cls.model_fields, True))


class MannWhitney(Strict):
    """Parameters of the mann-whitney judge: Kayenta's constants and score thresholds."""

    tolerance: float = Field(default=0.25, ge=0)
    confidence: float = Field(default=0.98, gt=0, lt=1)
    pass_score: float = Field(default=95.0, ge=0, le=100)
    marginal_score: float = Field(default=75.0, ge=0, le=100)
    minimum_points: int = Field(default=10, ge=1)
    fail_open: FailOpen = FailOpen()
    metrics: dict[str, "MetricOptions"] = Field(default_factory=dict)


class EffectSize(Strict):
    """Kayenta's effectSize: how large a significant change must be to count, and to be critical."""

    measure: Literal["meanRatio", "cles"] = "meanRatio"
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical_increase: float | None = None
    critical_decrease: float | None = None


class MetricOptions(Strict):
    """What the mann-whitney judge needs to know of one metric, by name, beyond its spec."""

    nan_strategy: Literal["remove", "replace"] = "remove"
    outliers: Literal["keep", "remove"] = "keep"
    outlier_factor: float = Field(default=3.0, ge=0)
    effect_size: EffectSize = EffectSize()


class JudgePolicy(Strict):
    """How to judge.

    Attributes:
        alpha: the chance of a wrong fail, and of a wrong pass, over the whole rollout: all looks, all
            metrics.
        planned_looks: how many looks the analysis is planned to take; regressions that begin at any of
            them are weighed in. More looks stay valid.
        weights: group name → weight out of 100, for the score.
    """

    judge: JudgeName = "sequential"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    planned_looks: int = Field(default=20, ge=1, le=100_000)
    thresholds: Thresholds = Thresholds()
    mann_whitney: MannWhitney = MannWhitney()
    weights: dict[str, float] = Field(default_factory=dict)


class JudgeState(Frozen):
    """What a judge remembers after a look: `metrics` by name, in the judge's own form."""

    judge: JudgeName
    looks: int = 0
    metrics: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    shared: dict[str, JsonValue] = Field(default_factory=dict)


class JudgedLook(Frozen):
    """What one look was judged on: with the state before it, all that its verdict rests on."""

    policy: JudgePolicy
    look: JudgeLook


class LookMemory(Frozen):
    """What a look leaves for the next one.

    Attributes:
        state: the judge's.
        cursors: per node, how far its samples were read, on its own clock.
        recorded: with the first look of a guard against recorded figures: what each node did before.
    """

    state: JudgeState
    cursors: dict[str, float] = Field(default_factory=dict)
    recorded: dict[str, NodeIntervals] = Field(default_factory=dict)


class Replay(Frozen):
    """A past look with all that is needed to judge it again, and what was said then."""

    judged: JudgedLook
    before: JudgeState | None
    verdict: Verdict


class Judge(Protocol):
    """A judge. Looks come in order; state is None before the first.

    A look that cannot be judged gives an inconclusive verdict with a doubt; no input raises.
    """

    def __call__(
        self, policy: JudgePolicy, state: JudgeState | None, look: JudgeLook
    ) -> tuple[Verdict, JudgeState]:
        """The verdict after this look, over everything since the first, and the state to keep."""
        ...
