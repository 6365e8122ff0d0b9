"""Where the numbers come from: one model per provider, as policies and imported files name them.

Texts may hold placeholders, filled in when something is measured: `{{module}}`, `{{version}}` (the
release that is judged), `{{environment}}`, `{{deployment}}`, `{{interval}}` (a Prometheus duration),
`{{canary}}`, `{{baseline}}` (node names as one regular expression) and, where one query serves both sides,
`{{nodes}}`. Addresses and commands must be on the list in the worker's settings.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import jsonpath
from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from domain.agent_metrics import AGENT_METRIC_NAMES
from domain.base import Frozen, Strict
from domain.conditions.metric import OURS, ConditionMetric, Semantics
from domain.metrics import MetricKind, MetricSpec

PLACEHOLDERS: Final = (
    "module",
    "version",
    "environment",
    "deployment",
    "interval",
    "canary",
    "baseline",
    "nodes",
)
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
T = TypeVar("T")


def placeholders(text: str) -> tuple[str, ...]:
    """The names between double braces."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def filled(value: T, values: Mapping[str, str]) -> T:
    """The same value with the placeholders that `values` knows replaced, in texts however deep."""
    return _filled(value, values)  # type: ignore[no-any-return]


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), value)
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, values) for key, each in value.items()}
    return value


def _known(text: str) -> str:
    unknown = [name for name in placeholders(text) if name not in PLACEHOLDERS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: unknown placeholder; known are {', '.join(PLACEHOLDERS)}")
    return text


def _path(text: str) -> str:
    try:
        jsonpath.compile(text)
    except jsonpath.JSONPathError as error:
        raise ValueError(f"no JSONPath of RFC 9535: {error}") from error
    return text


Text = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_known)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(/\S*)?$", max_length=2000)]
Timeout = Annotated[float, Field(gt=0, le=110)]


class AgentProvider(Strict):
    """What the nodes' agents report, reduced to one number per side: `result.canary`, `result.baseline`.

    errors and unhealthy are shares, latency is the 95th percentile in seconds, cpu is in cores, memory in
    bytes per node.
    """

    kind: Literal["agent"] = "agent"
    metric: Literal["errors", "latency", "unhealthy", "cpu", "memory"]


class PrometheusProvider(Strict):
    """A PromQL instant query. A scalar is the result, a vector the list of its values."""

    kind: Literal["prometheus"] = "prometheus"
    address: Url
    query: Text
    timeout: Timeout = 30


class WebProvider(Strict):
    """An HTTP request. The result is the body as JSON, or what `json_path` (RFC 9535) finds in it."""

    kind: Literal["web"] = "web"
    url: Url
    method: Literal["GET", "POST", "PUT"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    body: Annotated[str, AfterValidator(_known)] | None = Field(default=None, max_length=100_000)
    json_body: JsonValue = None
    json_path: Annotated[str, AfterValidator(_path)] | None = Field(default=None, max_length=1000)
    timeout: Timeout = 10

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.json_body is not None:
            raise ValueError("body and json_body exclude each other")
        return self


class CommandProvider(Strict):
    """A job on the control plane, by its name in the worker's settings; never a command line.

    The result is `{"exit": code, "output": standard output, as JSON where it is JSON}`. Without conditions
    exit code 0 is success and any other is a failure.
    """

    kind: Literal["command"] = "command"
    command: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    timeout: Timeout = 60


class PluginProvider(Strict):
    """A provider that an installed package brings (entry point group `hotswap.providers`)."""

    kind: Literal["plugin"] = "plugin"
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    config: dict[str, JsonValue] = Field(default_factory=dict)
    timeout: Timeout = 30


Provider = Annotated[
    AgentProvider | PrometheusProvider | WebProvider | CommandProvider | PluginProvider,
    Field(discriminator="kind"),
]


class ConditionCheck(Strict):
    """A condition metric and where it is measured.

    `outages` are measurements in a row without an answer from the provider after which the check is given
    up as inconclusive (provider-down); until then it is held and tried again. They are no errors of the
    release and do not count against any other limit.
    """

    metric: ConditionMetric
    provider: Provider
    semantics: Semantics = OURS
    outages: int = Field(default=30, ge=0, le=10_000)

    @model_validator(mode="after")
    def _is_judged(self) -> Self:
        conditions = (self.metric.success_condition, self.metric.failure_condition)
        says_itself = self.provider.kind == "command" or self.semantics.unconditional_succeeds
        if conditions == (None, None) and not says_itself:
            raise ValueError("success_condition or failure_condition is needed: a number alone says nothing")
        return self


def named_once(checks: Sequence[ConditionCheck]) -> None:
    """Refuse two checks of one name.

    Raises:
        ValueError: naming them.
    """
    names = [check.metric.name for check in checks]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ValueError(f"{', '.join(dict.fromkeys(twice))}: two conditions have this name")


class PrometheusSource(Strict):
    """A metric of the judge's, read from Prometheus for each side in disjoint intervals.

    Attributes:
        query: gauge: the value over one interval; counter: the events; ratio: the events out of `exposure`.
        exposure: ratio: the requests.
        cumulative: counter and ratio: the queries give counters as they are (`requests_total{…}`), and what
            they grew by is taken from their values at the ends of each interval. False: they give the
            growth over one interval themselves, as `increase(…[{{interval}}])` does approximately.
        histogram: latency: the selector of a classic histogram without its `_bucket` suffix, such as
            `http_request_seconds{instance=~"{{nodes}}"}`.
        node_label: the label that names the node, so that nodes are told apart; None is one row per side.
    """

    spec: MetricSpec
    address: Url
    query: Text | None = None
    exposure: Text | None = None
    histogram: Text | None = None
    cumulative: bool = True
    node_label: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] | None = None
    timeout: Timeout = 30

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Self:
        if (self.histogram is None) == (self.query is None):
            raise ValueError("either query or histogram is needed")
        if (self.histogram is not None) != (self.spec.kind is MetricKind.LATENCY):
            raise ValueError("histogram goes with kind latency, and only there")
        if (self.exposure is not None) != (self.spec.kind is MetricKind.RATIO):
            raise ValueError("exposure goes with kind ratio, and only there")
        return self


def measured_once(metrics: Sequence[MetricSpec], sources: Sequence[PrometheusSource]) -> None:
    """Refuse two metrics of one name, and one of the agents' that they do not measure.

    Raises:
        ValueError: naming them.
    """
    names = [spec.name for spec in metrics]
    others = [source.spec.name for source in sources]
    twice = [name for place, name in enumerate(others) if name in (*names, *others[:place])]
    if twice:
        raise ValueError(f"sources: {twice[0]} occurs twice")
    if len(names) != len(dict.fromkeys(names)):
        raise ValueError("metrics: a name occurs twice")
    unknown = [name for name in names if name not in AGENT_METRIC_NAMES]
    if unknown:
        known = ", ".join(AGENT_METRIC_NAMES)
        raise ValueError(f"metrics: agents do not measure {', '.join(unknown)}; known are {known}")


class Circumstances(Frozen):
    """What is known when something is measured; the values of the placeholders."""

    module: str
    version: str
    environment: str
    deployment: str
    canary: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    interval: float = 60.0

    def values(self, nodes: Sequence[str] = ()) -> dict[str, str]:
        """Placeholder → text; `nodes` are the side that is asked for."""
        return {
            "module": self.module,
            "version": self.version,
            "environment": self.environment,
            "deployment": self.deployment,
            "interval": f"{max(1, round(self.interval))}s",
            "canary": _expression(self.canary),
            "baseline": _expression(self.baseline),
            "nodes": _expression(nodes),
        }


def _expression(names: Sequence[str]) -> str:
    """One regular expression for all names, its backslashes doubled as PromQL's strings want them.

    Nothing matches where there are no names.
    """
    return "|".join(name.replace(".", "[.]") for name in names) or "[^\\\\s\\\\S]"
