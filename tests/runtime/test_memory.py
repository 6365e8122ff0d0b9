"""What a process holds when it has opened everything is out of the collector's way; garbage is not."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from runtime import memory


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def settled() -> Iterator[None]:
    before = gc.get_threshold()
    memory.settle()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("settled")
def test_what_is_there_is_set_aside_and_later_knots_are_collected() -> None:
    assert gc.get_freeze_count() > 10_000
    knot = weakref.ref(Knot())
    assert knot() is not None
    gc.collect()
    assert knot() is None
