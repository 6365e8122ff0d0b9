"""Judging files: configs and samples, to what the judges read. docs/reference/judge-files.md has the forms.

What is invalid is refused with its field; what can be read and not trusted (a side that is missing, a
baseline that is not fresh) goes to the judge as such, which never passes on it.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import Field, ValidationError

from domain.base import Frozen, Strict, own_words
from domain.errors import InvalidInput
from domain.imports.findings import Finding, Findings
from domain.imports.kayenta import read_config as read_canary_config
from domain.imports.kayenta_request import read_request
from domain.imports.kayenta_samples import MetricSet, look, pair_all, read_pairs
from domain.judging import FailOpen, JudgeName, JudgePolicy
from domain.metrics import JudgeLook, MetricLook, MetricSpec, Row, Side

_KAYENTA_KEYS = ("configVersion", "applications", "classifier")


class JudgeConfig(Strict):
    """A config of our own: what to judge, and how."""

    policy: JudgePolicy = JudgePolicy()
    metrics: tuple[MetricSpec, ...]


class Reading(Frozen):
    """What the files came to."""

    policy: JudgePolicy
    specs: tuple[MetricSpec, ...]
    notes: tuple[Finding, ...] = ()


def read_judge_config(
    document: Any, request: Any = None, judge: JudgeName | None = None, *, fail_open: bool = False
) -> Reading:
    """A config of ours, or Kayenta's canary config with, if there is one, its execution request.

    Args:
        document: the config.
        request: the execution request.
        judge: another judge than the config's.
        fail_open: with the mann-whitney judge, do all as Kayenta does.

    Raises:
        InvalidInput: neither, or one that cannot be honoured; the field and the reason.
    """
    if not isinstance(document, Mapping):
        raise InvalidInput("a config is a mapping", field="config")
    if any(key in document for key in _KAYENTA_KEYS):
        config = read_canary_config(document)
        policy = read_request(request).policy(config) if request is not None else config.policy
        reading = Reading(policy=policy, specs=config.specs, notes=config.notes)
    else:
        try:
            ours = JudgeConfig.model_validate(document)
        except ValidationError as error:
            raise _invalid("config", error) from error
        if not ours.metrics:
            raise InvalidInput("no metrics", field="config.metrics")
        reading = Reading(policy=ours.policy, specs=ours.metrics)
    changes: dict[str, object] = {"judge": judge} if judge is not None else {}
    if fail_open:
        changes["mann_whitney"] = reading.policy.mann_whitney.model_copy(
            update={"fail_open": FailOpen.kayenta()}
        )
    return reading.model_copy(update={"policy": reading.policy.model_copy(update=changes)})


def read_looks(document: Any, specs: Sequence[MetricSpec]) -> tuple[JudgeLook, ...]:
    """Samples, in one of four forms.

    - a list of Kayenta's archived metric pairs;
    - `{"control": [metric sets], "experiment": [metric sets]}`, Kayenta's sides before they were paired;
    - `{"looks": [looks]}`, what the judges read, look by look;
    - `{"step", "metrics": {name: {"canary": {node: series}, "baseline": {node: series}}}}`.

    Raises:
        InvalidInput: none of these; a metric that the config does not have; looks that overlap.
    """
    if isinstance(document, list):
        return (look(specs, read_pairs(document)),)
    if not isinstance(document, Mapping):
        raise InvalidInput("samples are a list or a mapping", field="samples")
    if "control" in document or "experiment" in document:
        return (look(specs, _paired(document, specs)),)
    try:
        if "looks" in document:
            return _in_order(tuple(JudgeLook.model_validate(each) for each in document["looks"] or ()))
        return (_from_series(SeriesFile.model_validate(document), specs),)
    except ValidationError as error:
        raise _invalid("samples", error) from error


class NodeSeries(Strict):
    """One node's series. See `domain.metrics.Side`."""

    values: Row = ()
    exposure: Row = ()
    buckets: tuple[tuple[float, ...] | None, ...] = ()


class MetricSeries(Strict):
    """Both sides of one metric, node by node, and what they did before the change."""

    canary: dict[str, NodeSeries] = Field(default_factory=dict)
    baseline: dict[str, NodeSeries] = Field(default_factory=dict)
    history_canary: dict[str, NodeSeries] = Field(default_factory=dict)
    history_baseline: dict[str, NodeSeries] = Field(default_factory=dict)
    bounds: tuple[float, ...] = ()


class SeriesFile(Strict):
    """Samples that people write: one look over everything.

    `start` and `baseline_start` are seconds since the epoch; a baseline from another time is not fresh.
    """

    step: float = 60.0
    start: float = 0.0
    baseline_start: float | None = None
    expected_share: float | None = None
    metrics: dict[str, MetricSeries]


def _from_series(file: SeriesFile, specs: Sequence[MetricSpec]) -> JudgeLook:
    known = [spec.name for spec in specs]
    unknown = [name for name in file.metrics if name not in known]
    if unknown:
        raise InvalidInput(f"the config has no metric {unknown[0]!r}", field=f"samples.metrics.{unknown[0]}")
    looks = [_metric(spec, file.metrics.get(spec.name, MetricSeries())) for spec in specs]
    intervals = max((max(one.canary.intervals, one.baseline.intervals) for one in looks), default=0)
    away = file.start - file.baseline_start if file.baseline_start is not None else 0.0
    return JudgeLook(
        number=1,
        start=file.start,
        end=file.start + intervals * file.step,
        step=file.step,
        metrics=tuple(looks),
        canary_nodes=max((len(one.canary.nodes) for one in looks), default=0),
        baseline_nodes=max((len(one.baseline.nodes) for one in looks), default=0),
        expected_share=file.expected_share,
        baseline_fault=f"the baseline is not fresh: it was measured {abs(away):g} s away" if away else "",
    )


def _metric(spec: MetricSpec, series: MetricSeries) -> MetricLook:
    return MetricLook(
        spec=spec,
        bounds=series.bounds,
        canary=_side(series.canary),
        baseline=_side(series.baseline),
        history_canary=_side(series.history_canary),
        history_baseline=_side(series.history_baseline),
    )


def _side(nodes: Mapping[str, NodeSeries]) -> Side:
    rows = list(nodes.values())
    given = {
        name: tuple(getattr(row, name) for row in rows)
        for name in ("values", "exposure", "buckets")
        if any(getattr(row, name) for row in rows)
    }
    longest = [row.values or row.buckets for row in rows]
    samples = tuple(sum(value is not None for value in row) for row in longest)
    return Side.model_validate({"nodes": tuple(nodes), "samples": samples, **given})


def _in_order(looks: tuple[JudgeLook, ...]) -> tuple[JudgeLook, ...]:
    if not looks:
        raise InvalidInput("no looks", field="samples.looks")
    for place, (before, after) in enumerate(pairwise(looks), start=1):
        if after.start < before.end:
            raise InvalidInput(
                f"it begins at {after.start:g}, before the look before it ends at {before.end:g}: "
                "what is in both would count twice",
                field=f"samples.looks[{place}].start",
            )
        if after.number <= before.number:
            raise InvalidInput("looks count up", field=f"samples.looks[{place}].number")
    return looks


def _paired(document: Mapping[str, Any], specs: Sequence[MetricSpec]) -> Any:
    findings = Findings()
    sides = []
    for name in ("control", "experiment"):
        sets = findings.mappings(f"samples.{name}", document.get(name))
        try:
            sides.append([_metric_set(each) for each in sets])
        except ValidationError as error:
            raise _invalid(f"samples.{name}", error) from error
    findings.settle()
    return pair_all([spec.name for spec in specs], *sides)


def _metric_set(raw: Mapping[str, Any]) -> MetricSet:
    return MetricSet.model_validate(
        {
            "name": raw.get("name"),
            "tags": raw.get("tags") or {},
            "values": [None if value == "NaN" else value for value in raw.get("values") or ()],
            "start": raw.get("startTimeMillis") or 0,
            "end": raw.get("endTimeMillis"),
            "step": raw.get("stepMillis") or 60_000,
        }
    )


def _invalid(where: str, error: ValidationError) -> InvalidInput:
    first = error.errors()[0]
    field = ".".join([where, *(str(part) for part in first["loc"])])
    return InvalidInput(own_words(first["msg"]), field=field)
