"""Which nodes change together: every class of node is met as early as it can be."""

import itertools
from collections.abc import Iterable, Sequence

from domain.node import CLASS_LABELS, Node


def spread(nodes: Iterable[Node]) -> list[Node]:
    """Order nodes so that any prefix covers as many zones, roles and architectures as it can.

    Greedy over classes (a class is one combination of CLASS_LABELS): next comes the class that shows the
    most label values not met yet; when all are met, the class with the smallest share of its nodes taken.
    Ties fall by name, so the order depends on nothing but the input set.
    """
    classes: dict[tuple[str, ...], list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.name, reverse=True):
        classes.setdefault(tuple(node.labels.get(label, "") for label in CLASS_LABELS), []).append(node)
    sizes = {key: len(members) for key, members in classes.items()}
    met: dict[tuple[int, str], bool] = {}

    def rank(key: tuple[str, ...]) -> tuple[int, float, tuple[str, ...]]:
        fresh = sum((index, value) not in met for index, value in enumerate(key))
        return (-fresh, 1 - len(classes[key]) / sizes[key], key)

    ordered = []
    while classes:
        key = min(classes, key=rank)
        ordered.append(classes[key].pop())
        met.update(dict.fromkeys(enumerate(key), True))
        if not classes[key]:
            del classes[key]
    return ordered


def cut(ordered: Sequence[Node], shares: Sequence[int]) -> list[list[Node]]:
    """Cut the order into waves at cumulative percentages (rounded up); empty waves fall away."""
    edges = [0, *(-(-len(ordered) * share // 100) for share in shares)]
    waves = [list(ordered[start:end]) for start, end in itertools.pairwise(edges)]
    return [wave for wave in waves if wave]
