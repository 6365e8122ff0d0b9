"""What a judge keeps between looks, as plain JSON, and back without the loss of a bit."""

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from pydantic import JsonValue

from domain.judges.evidence import Array

Numbers = TypeVar("Numbers")


def keep(array: Array) -> JsonValue:
    """Nested lists; what is not finite becomes null. Floats are written so that they read back the same."""
    if np.all(np.isfinite(array)):
        listed: JsonValue = array.tolist()
        return listed
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    with_gaps: JsonValue = plain.tolist()
    return with_gaps


def recall(stored: JsonValue) -> Array:
    """The array; null becomes NaN."""
    return np.array(stored, dtype=np.float64)


def keep_all(numbers: Any) -> dict[str, JsonValue]:
    """A dataclass of arrays."""
    return {each.name: keep(getattr(numbers, each.name)) for each in fields(numbers)}


def recall_all(kind: type[Numbers], stored: JsonValue) -> Numbers:
    """The dataclass of arrays again.

    Raises:
        TypeError: it is not one that was kept.
    """
    if not isinstance(stored, dict):
        raise TypeError(f"no stored {kind.__name__}")
    return kind(**{name: recall(value) for name, value in stored.items()})
