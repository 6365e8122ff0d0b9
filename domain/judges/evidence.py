"""Evidence that may be looked at as often as one likes.

An e-process is a running score whose mean stays at most 1 while there is nothing wrong, so that it ever
reaches 1/α with a chance of at most α (Ville 1939). A verdict is "fail" when it does. All scores here are
kept as logarithms. Arrays may have any leading axes (variants of one test, or repetitions in a benchmark);
the last axis is named in each function.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST_LOOK: Final = 0.75  # share of the score that is bet on "it was there from the start"
PLANNED: Final = 0.2  # … on "it begins at one of the planned looks", equally
NOTHING: Final = -1e9  # the logarithm of nothing, but a number
CEILING: Final = 690.0  # exp() of more would be no float


def restart_weight(look: int, planned: int) -> float:
    """The share that is bet on a regression that begins at this look.

    The shares of all looks sum to at most 1, however many there are: 1/(k(k−1)) sums to 1 from k = 2.
    """
    if look == 1:
        return FIRST_LOOK
    late = (1.0 - FIRST_LOOK - PLANNED) / (look * (look - 1))
    return late + (PLANNED / (planned - 1) if look <= planned else 0.0)


def unspent(look: int, planned: int) -> float:
    """What is not bet yet after this look."""
    planned_left = PLANNED * (1.0 - min(1.0, (look - 1) / (planned - 1))) if planned > 1 else PLANNED
    return planned_left + (1.0 - FIRST_LOOK - PLANNED) / look


def restarted(scores: Array, going_on: Array, beginning: Array, look: int, planned: int) -> Array:
    """Scores (last axis: alternatives) after a look.

    The mixture over starting looks of Shiryaev and Roberts, R(t) = R(t−1)·L(t) + w(t)·L'(t), is the weighted
    sum of the tests that began at look 1, 2, …, t in constant memory. A weighted sum of e-processes is one
    (Shin, Ramdas and Rinaldo 2022, E-detectors, use the same recursion without weights).

    Args:
        scores: log R(t−1).
        going_on: log L(t), of a regression that began earlier.
        beginning: log L'(t), of one that begins with this look.
        look: t.
        planned: of how many.
    """
    result: Array = np.logaddexp(scores + going_on, np.log(restart_weight(look, planned)) + beginning)
    return result


def begin(shape: tuple[int, ...]) -> Array:
    """Scores before the first look: nothing bet."""
    return np.full(shape, NOTHING)


def restarted_evidence(scores: Array, look: int, planned: int) -> Array:
    """The log e-value of restarted scores: their mean over the last axis plus what is not bet yet."""
    return np.logaddexp(log_mean(scores), np.log(unspent(look, planned)))


def log_mean(scores: Array) -> Array:
    """Log of the mean of exp over the last axis: an average of e-processes is an e-process."""
    top = np.max(scores, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    total: Array = np.log(np.maximum(np.mean(np.exp(scores - top), axis=-1), 1e-300)) + top[..., 0]
    return total


def odds(log_evidence: float) -> float:
    """Evidence as people read it, "x : 1"."""
    return float(np.exp(min(max(log_evidence, -CEILING), CEILING)))
