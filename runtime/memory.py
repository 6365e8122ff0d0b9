"""How a long-lived process collects garbage."""

import gc
from typing import Final

# Objects made and not freed before the youngest generation is looked through; CPython's own figure is 700,
# which is less than what one request or one activity keeps for as long as it lasts.
_YOUNG: Final = 10_000


def settle() -> None:
    """Call it once everything is open: what is there now stays, and is never looked through again.

    The program's own modules, models and routes are some hundred thousand objects. Each look through all of
    them stops the process for a tenth of a second, and under load there was one every few dozen requests.
    """
    gc.collect()
    gc.freeze()
    _, middle, old = gc.get_threshold()
    gc.set_threshold(_YOUNG, middle, old)
