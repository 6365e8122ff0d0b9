"""From a provider's result to a measurement's phase, by the metric's conditions."""

import json
import math

from domain.base import Frozen
from domain.conditions.expression import Expression
from domain.conditions.functions import Value
from domain.conditions.metric import OURS, ConditionMetric, MetricPhase, Semantics
from domain.errors import InvalidInput

RETAINED = 10
"""Measurements that a metric keeps to show; counters cover all of them."""
_LONGEST_VALUE = 400


class Measurement(Frozen):
    """One measurement. In flight while `finished` is None; times are seconds since the epoch.

    `value` is the result as text (NaN and the infinities included), cut to a length that can be shown.
    """

    phase: MetricPhase
    value: str = ""
    message: str = ""
    started: float = 0.0
    finished: float | None = None
    resume_at: float | None = None


def phase_of(metric: ConditionMetric, result: Value, semantics: Semantics = OURS) -> tuple[MetricPhase, str]:
    """What one result means, and why where it is not plain.

    With both conditions failure wins, and neither is inconclusive. A condition that cannot be evaluated is
    an error, never an answer.
    """
    conditions = _conditions(metric)
    holds: dict[str, bool] = {}
    for name, text in conditions.items():
        try:
            holds[name] = Expression(text).holds(result)
        except InvalidInput as error:
            return MetricPhase.ERROR, f"{name}: {error.message}"
    if not conditions and not semantics.unconditional_succeeds:
        return MetricPhase.INCONCLUSIVE, "the metric has no condition"
    missing = _missing(result, conditions)
    if missing and not semantics.nan_follows_conditions:
        return MetricPhase.INCONCLUSIVE, missing
    return _decided(holds.get("successCondition"), holds.get("failureCondition")), ""


def shown(result: Value) -> str:
    """A result as people read it: numbers plain, lists and maps as JSON, NaN and +Inf by name."""
    if isinstance(result, str):
        text = result
    elif isinstance(result, list):
        text = f"[{','.join(map(shown, result))}]"
    elif isinstance(result, float):
        text = _number(result)
    else:
        text = json.dumps(result)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _conditions(metric: ConditionMetric) -> dict[str, str]:
    both = {"failureCondition": metric.failure_condition, "successCondition": metric.success_condition}
    return {name: text for name, text in both.items() if text is not None}


def _decided(success: bool | None, failure: bool | None) -> MetricPhase:
    if failure:
        return MetricPhase.FAILED
    if success or success is None:
        return MetricPhase.SUCCESSFUL
    return MetricPhase.FAILED if failure is None else MetricPhase.INCONCLUSIVE


def _missing(result: Value, conditions: dict[str, str]) -> str:
    """Why nothing was measured although the conditions do not ask about that; "" when something was."""
    expressions = [Expression(text) for text in conditions.values()]
    if result is None or result == []:
        asked = any(each.asks("isNil", "default", "len", "nil", "coalesce") for each in expressions)
        return "" if asked else "the result is empty"
    values = result if isinstance(result, list) else [result]
    if any(isinstance(value, float) and math.isnan(value) for value in values):
        return "" if any(each.asks("isNaN") for each in expressions) else "the result is not a number"
    return ""


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
