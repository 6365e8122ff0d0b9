"""From one side's rows to arrays: one row per node, or per block of nodes in large fleets.

Rows are put in order of names, so that the order in which nodes were asked cannot matter.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.judges.evidence import Array
from domain.judges.signals import BLOCKS
from domain.metrics import HUGE, Side


@dataclass(frozen=True, slots=True)
class Members:
    """Who is where: the names in order, and the block of each. A node is its own block in small groups."""

    names: tuple[str, ...]
    block: tuple[int, ...]
    blocks: int

    @property
    def single(self) -> bool:
        """Whether each node is a block of its own."""
        return self.blocks == len(self.names) and self.block == tuple(range(self.blocks))


def members(names: Sequence[str], *, many: bool = False) -> Members:
    """The blocks of these nodes: by name, so that a node stays in its block whoever else answers.

    With `many` they are cut into blocks even if they are few by now.
    """
    ordered = tuple(sorted(names))
    if len(ordered) <= BLOCKS and not many:
        return Members(ordered, tuple(range(len(ordered))), len(ordered))
    return Members(ordered, tuple(zlib.crc32(name.encode()) % BLOCKS for name in ordered), BLOCKS)


def rows(side: Side, who: Members, field: str) -> Array | None:
    """[node, interval] in order of names, NaN where nothing finite was measured; None without the field."""
    given: Sequence[Sequence[float | None]] = getattr(side, field)
    if not given:
        return None
    table = np.array(given, dtype=np.float64)
    table[~(np.abs(table) <= HUGE)] = np.nan
    table[np.abs(table) < 1 / HUGE] = 0.0
    return _in_order(table, side.nodes, who)


def buckets(side: Side, who: Members, width: int) -> Array | None:
    """[node, interval, bucket] in order of names, zeros where nothing was observed; None without buckets."""
    if not side.buckets:
        return None
    empty = (0.0,) * width
    table = np.array([[empty if cell is None else cell for cell in row] for row in side.buckets])
    table = np.where((table > 1 / HUGE) & (table <= HUGE), table, 0.0)
    found = _in_order(table.reshape(len(side.nodes), -1, width), side.nodes, who)
    return np.nan_to_num(found)


def _in_order(table: Array, names: tuple[str, ...], who: Members) -> Array:
    if names == who.names:
        return table
    place = {name: index for index, name in enumerate(names)}
    picked = [place.get(name, -1) for name in who.names]
    padded = np.concatenate([table, np.full((1, *table.shape[1:]), np.nan)])
    result: Array = padded[picked]
    return result


def summed(table: Array, who: Members) -> Array:
    """Sums per block (first axis), NaN where no node of the block has a value."""
    if who.single:
        return table
    known = np.isfinite(table)
    total = np.zeros((who.blocks, *table.shape[1:]))
    there = np.zeros((who.blocks, *table.shape[1:]))
    np.add.at(total, np.array(who.block), np.where(known, table, 0.0))
    np.add.at(there, np.array(who.block), known.astype(float))
    return np.where(there > 0, total, np.nan)


def averaged(table: Array, who: Members) -> Array:
    """Means per block (first axis) over the nodes that have a value."""
    if who.single:
        return table
    return summed(table, who) / summed(np.where(np.isfinite(table), 1.0, np.nan), who)
