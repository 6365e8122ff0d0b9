"""Which nodes change together: every class of node is met as early as it can be."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from domain.node import CLASS_LABELS, Node

Class = tuple[str, ...]  # one value for each of CLASS_LABELS
Met = dict[tuple[int, str], bool]

_TRIES = 20_000  # steps of the search below; beyond them the greedy order stands


def spread(nodes: Iterable[Node], first: int = 0) -> list[Node]:
    """Order nodes so that any prefix covers as many zones, roles and architectures as it can.

    Greedy over classes (a class is one combination of CLASS_LABELS): next comes the class that shows the
    most label values not met yet; when all are met, the class with the smallest share of its nodes taken.
    Ties fall by name, so the order depends on nothing but the input set. Greedy may need more nodes than the
    least that cover every value, so where `first` nodes can cover all of them, those are looked for.

    Args:
        nodes: in any order.
        first: the size of the first wave.
    """
    classes: dict[Class, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.name, reverse=True):
        classes.setdefault(_class(node), []).append(node)
    ordered = _greedy({key: list(members) for key, members in classes.items()}, ())
    if first and _values(ordered[:first]) != _values(ordered):
        chosen = _cover(list(classes), first)
        if chosen:
            return _greedy(classes, chosen)
    return ordered


def _values(nodes: Iterable[Node]) -> Met:
    """Every label value that these nodes show."""
    return {
        (index, node.labels.get(label, "")): True
        for node in nodes
        for index, label in enumerate(CLASS_LABELS)
    }


def _greedy(classes: dict[Class, list[Node]], chosen: Sequence[Class]) -> list[Node]:
    sizes = {key: len(members) for key, members in classes.items()}
    left = dict.fromkeys((value for key in classes for value in enumerate(key)), True)

    def rank(key: Class) -> tuple[int, float, Class]:
        fresh = sum(value in left for value in enumerate(key))
        return (-fresh, 1 - len(classes[key]) / sizes[key], key)

    ordered: list[Node] = []
    while left:
        key = (
            chosen[len(ordered)]
            if len(ordered) < len(chosen)
            else min(filter(classes.get, classes), key=rank)
        )
        ordered.append(classes[key].pop())
        for value in enumerate(key):
            left.pop(value, None)
    ordered.extend(_evenly(classes, sizes))
    return ordered


def _evenly(classes: Mapping[Class, list[Node]], sizes: Mapping[Class, int]) -> Iterator[Node]:
    """What is left, the class with the smallest share of its nodes taken first."""
    heap = [(1 - len(members) / sizes[key], key) for key, members in classes.items() if members]
    heapq.heapify(heap)
    while heap:
        _, key = heap[0]
        yield classes[key].pop()
        if classes[key]:
            heapq.heapreplace(heap, (1 - len(classes[key]) / sizes[key], key))
        else:
            heapq.heappop(heap)


def _cover(classes: Sequence[Class], most: int) -> tuple[Class, ...]:
    """At most so many classes that show every label value; () where there are none, or none were found.

    A depth-first search on the value that the fewest classes show; a label with more open values than
    classes are left cuts a branch.
    """
    carriers: dict[tuple[int, str], list[Class]] = {}
    for key in sorted(classes):
        for value in enumerate(key):
            carriers.setdefault(value, []).append(key)
    tries = 0

    def search(chosen: tuple[Class, ...]) -> tuple[Class, ...] | None:
        nonlocal tries
        tries += 1
        met = [value for key in chosen for value in enumerate(key)]
        left = [value for value in carriers if value not in met]
        if not left:
            return chosen
        open_values = Counter(index for index, _ in left)
        if tries > _TRIES or max(open_values.values()) > most - len(chosen):
            return None
        rarest = min(left, key=lambda value: (len(carriers[value]), value))
        for key in carriers[rarest]:
            found = search((*chosen, key))
            if found is not None:
                return found
        return None

    return search(()) or ()


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


def alike(
    changed: Sequence[Node], left: Sequence[Node], *, kept: Sequence[Node] = (), most: int
) -> list[Node]:
    """For each changed node that no kept one stands for, the one of `left` that is most like it.

    Of nodes that are equally alike comes the last: the one that changes last, where `left` is in that order.

    Args:
        changed: at most so many are chosen for them.
        left: to choose from.
        kept: chosen before.
        most: of those kept and chosen together.
    """
    classes: dict[Class, list[Node]] = {}
    for node in left:
        classes.setdefault(_class(node), []).append(node)
    stands = Counter(map(_class, kept))
    room = min(len(changed), most) - len(kept)
    chosen: list[Node] = []
    for node in changed:
        key = _class(node)
        if stands[key]:
            stands[key] -= 1
            continue
        if len(chosen) >= room or not classes:
            break
        nearest = key if key in classes else min(classes, key=lambda other: (_unlike(key, other), other))
        chosen.append(classes[nearest].pop())
        if not classes[nearest]:
            del classes[nearest]
    return chosen


def _class(node: Node) -> Class:
    return tuple(node.labels.get(label, "") for label in CLASS_LABELS)


def _unlike(one: Class, other: Class) -> int:
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True))
