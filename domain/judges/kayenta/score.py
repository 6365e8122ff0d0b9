"""From labels to group scores, to one score, to a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain.analysis import GroupScore
from domain.judges.kayenta.classify import Label

COUNTED: Final = (Label.PASS, Label.HIGH, Label.LOW, Label.NO_DATA_FAIL)
NO_DATA_SHARE: Final = 50.0  # percent of metrics without data from which on there is no score


@dataclass(frozen=True, slots=True)
class Result:
    """One labelled metric."""

    name: str
    label: Label
    groups: tuple[str, ...] = ()
    critical: bool = False
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """The score, and why it is zero where something overrides the groups."""

    value: float
    groups: tuple[GroupScore, ...]
    reason: str = ""


def score(results: Sequence[Result], weights: Mapping[str, float]) -> Score:
    """The weighted score of all groups.

    A metric in several groups counts in each, one in none nowhere. A group in which nothing counts shows 0
    but is worth 100. Groups without a weight share what the weights leave of 100.
    """
    heard = [each for each in results if not each.muted]
    groups = _groups(heard, weights)
    critical = [each.name for each in heard if each.critical and each.label is not Label.PASS]
    if critical:
        return Score(0.0, groups, f"critical: {', '.join(critical)}")
    silent = sum(each.label is Label.NO_DATA for each in heard)
    if heard and 100.0 * silent / len(heard) >= NO_DATA_SHARE:
        return Score(0.0, groups, f"no data for {silent} of {len(heard)} metrics")
    worth = sum((each.score if _counted(heard, each.name) else 100.0) * each.weight for each in groups)
    return Score(round(worth / 100.0, 2), groups)


def _groups(results: Sequence[Result], weights: Mapping[str, float]) -> tuple[GroupScore, ...]:
    names = list(dict.fromkeys(name for each in results for name in each.groups))
    unweighted = sum(name not in weights for name in names)
    left = (100.0 - sum(weights.values())) / max(1, unweighted)
    found = []
    for name in names:
        counted = _counted(results, name)
        passed = sum(each.label is Label.PASS for each in counted)
        value = 100.0 * passed / len(counted) if counted else 0.0
        found.append(GroupScore(name=name, score=value, weight=weights.get(name, left)))
    return tuple(found)


def _counted(results: Sequence[Result], group: str) -> list[Result]:
    return [each for each in results if group in each.groups and each.label in COUNTED]


def word(value: float, *, passes: float, marginal: float) -> str:
    """Pass, Marginal or Fail."""
    if value >= passes:
        return "Pass"
    return "Marginal" if value >= marginal else "Fail"
