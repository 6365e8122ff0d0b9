"""In which threads the slow work on bundles is done."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from bundles import archive, signature, tree

SLOW = ((signature, "_digest"), (archive, "_read"), (tree, "_hash_file"))


def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[threading.Thread]]:
    """From now on, the threads that have hashed a bundle, read an archive, or hashed a file of a tree."""
    found: dict[str, set[threading.Thread]] = defaultdict(set)

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            found[name].add(threading.current_thread())
            return call(*arguments)

        return run

    for module, name in SLOW:
        monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
    return found
