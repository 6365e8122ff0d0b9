"""The functions that a condition may call, and the operators on its values, each with strict types.

Values are JSON's, with NaN and the infinities. A comparison of different types is an error and not false,
as in expr-lang with typed values: a condition that cannot mean what it says must not decide anything.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from domain.errors import InvalidInput

Value = Any
Predicate = Callable[[Value], Value]


class ConditionError(InvalidInput):
    """The condition could not be evaluated on this result."""


def is_number(value: Value) -> bool:
    """Whether it is an integer or a float; a boolean is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(value: Value) -> str:
    """What a person calls the type."""
    if value is None:
        return "nil"
    names = ((bool, "bool"), (int, "int"), (float, "float"), (str, "string"), (list, "list"), (dict, "map"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def equal(left: Value, right: Value) -> bool:
    """Equality of two values of one type; nil may be compared with anything.

    Raises:
        ConditionError: their types differ.
    """
    if left is None or right is None:
        return left is None and right is None
    if not _comparable(left, right):
        raise ConditionError(f"== of {type_name(left)} and {type_name(right)}")
    return bool(left == right)


def ordered(symbol: str, left: Value, right: Value) -> bool:
    """`<`, `<=`, `>` or `>=` of two numbers or two strings.

    Raises:
        ConditionError: they are of other types.
    """
    if not (is_number(left) and is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise ConditionError(f"{symbol} of {type_name(left)} and {type_name(right)}")
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[symbol]
    return bool(compare(left, right))


def contained(item: Value, container: Value) -> bool:
    """`in`: an element of a list or a key of a map.

    Raises:
        ConditionError: the container is neither.
    """
    if container is None:
        return False
    if isinstance(container, dict):
        return item in container
    if isinstance(container, list):
        return any(_comparable(item, each) and item == each for each in container)
    raise ConditionError(f"in {type_name(container)}")


def arithmetic(symbol: str, left: Value, right: Value) -> Value:
    """`+ - * / % **`. Division is of floats: by zero it gives an infinity or NaN, as IEEE 754 says.

    Raises:
        ConditionError: not two numbers (or two strings, for +).
    """
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not (is_number(left) and is_number(right)):
        raise ConditionError(f"{symbol} of {type_name(left)} and {type_name(right)}")
    try:
        return _ARITHMETIC[symbol](left, right)
    except (OverflowError, ValueError) as error:
        raise ConditionError(f"{left} {symbol} {right}: {error}") from error


def _divide(left: float, right: float) -> float:
    if right != 0:
        return left / right
    return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)


def _remainder(left: float, right: float) -> int:
    if not isinstance(left, int) or not isinstance(right, int) or right == 0:
        raise ConditionError("% needs two integers, the second not zero")
    return int(math.fmod(left, right))


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _remainder,
    "**": math.pow,
    "^": math.pow,
}


def _comparable(left: Value, right: Value) -> bool:
    return type_name(left) == type_name(right) or (is_number(left) and is_number(right))


def _as_int(value: Value) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConditionError(f"asInt({value!r}): {error}") from error


def _as_float(value: Value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConditionError(f"asFloat({value!r}): {error}") from error


def _number(name: str, test: Callable[[float], Value]) -> Callable[[Value], Value]:
    def call(value: Value) -> Value:
        if not is_number(value):
            raise ConditionError(f"{name} of {type_name(value)}")
        try:
            return test(value)
        except (ValueError, OverflowError) as error:
            raise ConditionError(f"{name}({value}): {error}") from error

    return call


def _numbers(name: str, reduce: Callable[[Sequence[float]], Value]) -> Callable[..., Value]:
    def call(*values: Value) -> Value:
        flat = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
        if not flat or not all(is_number(value) for value in flat):
            raise ConditionError(f"{name} needs numbers")
        return reduce(flat)

    return call


def _length(value: Value) -> int:
    if not isinstance(value, str | list | dict):
        raise ConditionError(f"len of {type_name(value)}")
    return len(value)


def _default(value: Value, fallback: Value) -> Value:
    return fallback if value is None else value


def _median(values: Sequence[float]) -> float:
    ascending = sorted(values)
    return (ascending[(len(ascending) - 1) // 2] + ascending[len(ascending) // 2]) / 2


FUNCTIONS: Final[dict[str, tuple[Callable[..., Value], int, int]]] = {
    "asInt": (_as_int, 1, 1),
    "asFloat": (_as_float, 1, 1),
    "int": (_as_int, 1, 1),
    "float": (_as_float, 1, 1),
    "isNaN": (_number("isNaN", math.isnan), 1, 1),
    "isInf": (_number("isInf", math.isinf), 1, 1),
    "isNil": (lambda value: value is None, 1, 1),
    "default": (_default, 2, 2),
    "len": (_length, 1, 1),
    "abs": (_number("abs", abs), 1, 1),
    "ceil": (_number("ceil", math.ceil), 1, 1),
    "floor": (_number("floor", math.floor), 1, 1),
    "round": (_number("round", lambda value: math.floor(value + 0.5)), 1, 1),
    "sum": (_numbers("sum", sum), 1, 100),
    "min": (_numbers("min", min), 1, 100),
    "max": (_numbers("max", max), 1, 100),
    "mean": (_numbers("mean", lambda values: sum(values) / len(values)), 1, 100),
    "median": (_numbers("median", _median), 1, 100),
}
"""By name: the function and how many arguments it takes, at least and at most."""

PREDICATES: Final[dict[str, Callable[[Sequence[Value], Predicate], Value]]] = {
    "all": lambda items, holds: all(_truth(holds(item)) for item in items),
    "any": lambda items, holds: any(_truth(holds(item)) for item in items),
    "none": lambda items, holds: not any(_truth(holds(item)) for item in items),
    "one": lambda items, holds: sum(_truth(holds(item)) for item in items) == 1,
    "count": lambda items, holds: sum(_truth(holds(item)) for item in items),
    "filter": lambda items, holds: [item for item in items if _truth(holds(item))],
    "map": lambda items, holds: [holds(item) for item in items],
}
"""By name: what takes a list and an expression over its elements, `#`."""


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ConditionError(f"a predicate gave {type_name(value)}, not bool")
    return value
