"""Which nodes change together: every class of node is met as early as it can be."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

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


def zone_limits(nodes: Iterable[Node], per_zone: Callable[[int], int]) -> dict[str, int]:
    """How many nodes of each zone may be in change at once: `per_zone(nodes in the zone)`."""
    return {zone: per_zone(count) for zone, count in Counter(zone_of(node) for node in nodes).items()}


def by_zone(ordered: Sequence[Node]) -> list[list[Node]]:
    """The nodes zone by zone, in the order in which the zones first come."""
    zones: dict[str, list[Node]] = {}
    for node in ordered:
        zones.setdefault(zone_of(node), []).append(node)
    return list(zones.values())


def fill(ordered: Sequence[Node], size: int, limits: Mapping[str, int]) -> list[list[Node]]:
    """Fill waves of at most `size` nodes, each with at most `limits[zone]` of one zone.

    Each node goes into the earliest wave that has room for it, so waves grow only as long as the zones force.
    """
    zones = dict.fromkeys(map(zone_of, ordered))
    waves: list[list[Node]] = []
    taken: list[Counter[str]] = []
    first_open = dict.fromkeys(zones, 0)
    for node in ordered:
        zone = zone_of(node)
        index = first_open[zone]
        while index < len(waves) and (len(waves[index]) >= size or taken[index][zone] >= limits[zone]):
            index += 1
        first_open[zone] = index
        if index == len(waves):
            waves.append([])
            taken.append(Counter())
        waves[index].append(node)
        taken[index][zone] += 1
    return waves


def zone_of(node: Node) -> str:
    """The failure domain; nodes without the label are one together."""
    return node.labels.get("zone", "")


def cut(ordered: Sequence[Node], shares: Sequence[int]) -> list[list[Node]]:
    """Cut the order into waves at cumulative percentages (rounded up); empty waves fall away."""
    edges = [0, *(-(-len(ordered) * share // 100) for share in shares)]
    waves = [list(ordered[start:end]) for start, end in itertools.pairwise(edges)]
    return [wave for wave in waves if wave]
