"""A condition metric: how often it is measured, when a measurement is good, and how many may be bad."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from domain.base import Strict
from domain.conditions.expression import Expression
from domain.errors import InvalidInput
from domain.metrics import MetricName

ERROR_RETRY_SECONDS = 10.0
"""After an error the next measurement comes this much later, whatever the interval."""


def _readable(text: str) -> str:
    try:
        unknown = Expression(text).unknown()
    except InvalidInput as error:
        raise ValueError(error.message) from error
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: unknown; a condition has `result` and the documented functions"
        )
    return text


Condition = Annotated[str, Field(min_length=1), AfterValidator(_readable)]
Seconds = Annotated[float, Field(gt=0, le=90 * 86400)]


class MetricPhase(StrEnum):
    """Where a measurement, a metric or a run of metrics stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"

    @property
    def completed(self) -> bool:
        """Whether nothing more will come."""
        return self not in {MetricPhase.PENDING, MetricPhase.RUNNING}


class Semantics(Strict):
    """Where we differ from Argo Rollouts on purpose. Each switch, when true, does as Argo does.

    Attributes:
        unmeasured_succeeds: a metric that is terminated, or has used up its count, is successful without
            `minimum_successes` successful measurements. Ours: inconclusive.
        nan_follows_conditions: NaN is compared like any number, so that it fails a success condition and
            does not meet a failure condition. Ours: a measurement that is not a number is inconclusive,
            unless its conditions ask for it with isNaN.
        unconditional_succeeds: a measurement without any condition is successful. Ours: inconclusive.
        errors_unbounded: only errors in a row end a metric. Ours: `error_limit` errors in all do too.
    """

    unmeasured_succeeds: bool = False
    nan_follows_conditions: bool = False
    unconditional_succeeds: bool = False
    errors_unbounded: bool = False


OURS = Semantics()
ARGO = Semantics(
    unmeasured_succeeds=True, nan_follows_conditions=True, unconditional_succeeds=True, errors_unbounded=True
)


class ConditionMetric(Strict):
    """One metric with conditions. Times are seconds; limits are exceeded, not reached.

    Attributes:
        interval: between two measurements; None measures once.
        initial_delay: before the first one, from the start of the run.
        count: how many measurements complete it; None with an interval measures to the end of the run.
        failure_limit: failed measurements that it may have; -1 lets any number pass.
        inconclusive_limit: the same for inconclusive ones.
        consecutive_error_limit: errors in a row that it may have; error_limit: errors in all.
        consecutive_success_limit: this many successes in a row complete it; 0 is off.
        minimum_successes: successful measurements without which it is never successful.
        dry_run: it is measured and shown, and decides nothing.
    """

    name: MetricName
    interval: Seconds | None = None
    initial_delay: float = Field(default=0, ge=0, le=90 * 86400)
    count: int | None = Field(default=None, ge=1, le=100_000)
    success_condition: Condition | None = None
    failure_condition: Condition | None = None
    failure_limit: int = Field(default=0, ge=-1)
    inconclusive_limit: int = Field(default=0, ge=0)
    consecutive_error_limit: int = Field(default=4, ge=0)
    error_limit: int = Field(default=60, ge=0)
    consecutive_success_limit: int = Field(default=0, ge=0)
    minimum_successes: int = Field(default=1, ge=1)
    dry_run: bool = False

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.failure_limit == -1 and self.consecutive_success_limit == 0:
            raise ValueError("failure_limit and consecutive_success_limit cannot both be disabled")
        if self.count is None:
            return self
        if self.failure_limit >= 0 and self.count < self.failure_limit + self.consecutive_success_limit:
            raise ValueError(
                f"count ({self.count}) must be >= failure_limit + consecutive_success_limit "
                f"({self.failure_limit} + {self.consecutive_success_limit})"
            )
        if self.count < self.inconclusive_limit:
            raise ValueError("count must be >= inconclusive_limit")
        if self.count > 1 and self.interval is None:
            raise ValueError("an interval is needed when count is more than 1")
        return self

    @property
    def measurements_needed(self) -> int | None:
        """How many complete it; None when only the end of the run does."""
        if self.count is None and self.interval is None:
            return 1
        return self.count
