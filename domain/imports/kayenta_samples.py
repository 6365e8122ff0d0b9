"""Kayenta's metric sets: control and experiment series, paired by name and tags, to a look for our judges."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from domain.base import Frozen
from domain.errors import InvalidInput
from domain.imports.findings import Findings
from domain.metrics import JudgeLook, MetricLook, MetricSpec, Side

STEP_MILLIS = 60_000


class MetricSet(Frozen):
    """One series of one side. None in `values` is NaN."""

    name: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    values: tuple[float | None, ...] = ()
    start: float = 0
    end: float | None = None
    step: float = STEP_MILLIS

    @property
    def points(self) -> int:
        """How many there should be between start and end."""
        return 0 if self.end is None or self.step <= 0 else round((self.end - self.start) / self.step)


class Pair(Frozen):
    """Both sides of one series. A side that has no such series is empty."""

    name: str
    tags: dict[str, str] = Field(default_factory=dict)
    control: tuple[float | None, ...] = ()
    experiment: tuple[float | None, ...] = ()
    start: float = 0
    step: float = STEP_MILLIS


def pair(control: MetricSet, experiment: MetricSet) -> Pair:
    """Two series of the same name and tags. A side without data is filled up with NaN to its length.

    Raises:
        InvalidInput: names or tags that are missing or differ.
    """
    for side, name in (("Control", control.name), ("Experiment", experiment.name)):
        if not name:
            raise InvalidInput(f"{side} metric set name was not set", field=f"{side.lower()}.name")
    if control.name != experiment.name:
        raise InvalidInput(
            f"Control metric set name {control.name!r} does not match experiment metric set name "
            f"{experiment.name!r}",
            field="experiment.name",
        )
    if control.tags != experiment.tags:
        raise InvalidInput(f"{control.name}: the sides have different tags", field="experiment.tags")
    return Pair(
        name=control.name or "",
        tags=control.tags,
        control=control.values or (None,) * control.points,
        experiment=experiment.values or (None,) * experiment.points,
        start=experiment.start,
        step=experiment.step,
    )


def pair_all(
    metrics: Sequence[str], control: Sequence[MetricSet], experiment: Sequence[MetricSet]
) -> tuple[Pair, ...]:
    """All series of the metrics, paired by tags, in the metrics' order.

    A placeholder (a set without tags, which a side without data gives) takes on the tags of the other side,
    with no values.

    Raises:
        InvalidInput: a metric that one of the sides does not know at all.
    """
    pairs: list[Pair] = []
    for name in metrics:
        sides = [[each for each in side if each.name == name] for side in (control, experiment)]
        for side, found in zip(("control", "experiment"), sides, strict=True):
            if not found:
                raise InvalidInput(f"No {side} metrics found for {name}", field=side)
        tags = [each.tags for each in (*sides[0], *sides[1]) if each.tags]
        for own in [own for place, own in enumerate(tags) if own not in tags[:place]] or [{}]:
            one, two = (_of(found, own) for found in sides)
            pairs.append(pair(_like(one, two, name, own), _like(two, one, name, own)))
    return tuple(pairs)


def _of(sets: Sequence[MetricSet], tags: dict[str, str]) -> MetricSet | None:
    return next((each for each in sets if each.tags == tags), None)


def _like(known: MetricSet | None, other: MetricSet | None, name: str, tags: dict[str, str]) -> MetricSet:
    if known is not None:
        return known
    like = other or MetricSet()
    return MetricSet(name=name, tags=tags, start=like.start, step=like.step)


def read_pairs(document: Any) -> tuple[Pair, ...]:
    """An archived list of pairs, `[{name, tags, values: {control, experiment}, …}]`.

    Raises:
        CannotHonour: it is none.
    """
    findings = Findings()
    pairs = []
    for place, raw in enumerate(findings.mappings("samples", document)):
        field = f"samples[{place}]"
        values = raw.get("values")
        if not raw.get("name") or not isinstance(values, Mapping):
            findings.add(field, "name and values are needed")
            continue
        control, experiment = (
            _series(f"{field}.values.{side}", values.get(side), findings)
            for side in ("control", "experiment")
        )
        pairs.append(
            Pair(
                name=str(raw["name"]),
                tags={str(key): str(value) for key, value in (raw.get("tags") or {}).items()},
                control=control,
                experiment=experiment,
                start=_start(raw),
                step=float(raw.get("stepMillis") or STEP_MILLIS),
            )
        )
    if not pairs:
        findings.add("samples", "no pairs")
    findings.settle()
    return tuple(pairs)


def _start(raw: Mapping[str, Any]) -> float:
    start = raw.get("startTimeMillis")
    if isinstance(start, Mapping):  # older archives keep it per scope
        start = start.get("experiment")
    return float(start or 0)


def _series(field: str, values: Any, findings: Findings) -> tuple[float | None, ...]:
    if values is None:
        return ()
    if not isinstance(values, list):
        findings.add(field, "a list of numbers is needed")
        return ()
    series: list[float | None] = []
    for place, value in enumerate(values):
        if value is None or value == "NaN":
            series.append(None)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            findings.add(f"{field}[{place}]", f"a number is needed, not {value!r}")
        else:
            series.append(float(value) if math.isfinite(value) else None)
    return tuple(series)


def look(specs: Sequence[MetricSpec], pairs: Sequence[Pair]) -> JudgeLook:
    """One look over all pairs, each series a node of its side; the experiment is the canary.

    Series of different lengths are filled up with absent values. A metric without a series is in the look
    and has no data; a series without a metric is left out, as Kayenta does.
    """
    longest = max((max(len(each.control), len(each.experiment)) for each in pairs), default=0)
    step = (pairs[0].step if pairs else STEP_MILLIS) / 1000
    start = (min(each.start for each in pairs) if pairs else 0) / 1000
    looks = []
    for spec in specs:
        own = [each for each in pairs if each.name == spec.name]
        width = max((max(len(each.control), len(each.experiment)) for each in own), default=0)
        looks.append(
            MetricLook(
                spec=spec,
                canary=_side([(each.tags, each.experiment) for each in own], width),
                baseline=_side([(each.tags, each.control) for each in own], width),
            )
        )
    return JudgeLook(
        number=1,
        start=start,
        end=start + longest * step,
        step=step,
        metrics=tuple(looks),
        canary_nodes=1,
        baseline_nodes=1,
    )


def _side(series: Sequence[tuple[dict[str, str], tuple[float | None, ...]]], width: int) -> Side:
    return Side(
        nodes=tuple(
            ",".join(f"{key}={value}" for key, value in sorted(tags.items())) or "all" for tags, _ in series
        ),
        values=tuple((*values, *(None,) * (width - len(values))) for _, values in series),
        samples=tuple(sum(value is not None for value in values) for _, values in series),
    )
