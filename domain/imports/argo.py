"""Argo Rollouts' AnalysisTemplate, as it is (argoproj.io/v1alpha1), to checks of our own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from domain.base import own_words
from domain.conditions.metric import OURS, Semantics
from domain.conditions.run import matching
from domain.errors import InvalidInput
from domain.imports.findings import Findings
from domain.providers import ConditionCheck, PrometheusProvider, WebProvider, filled, placeholders

P = TypeVar("P", PrometheusProvider, WebProvider, ConditionCheck)
KINDS: Final = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FIELDS: Final = {
    "successCondition": "success_condition",
    "failureCondition": "failure_condition",
    "failureLimit": "failure_limit",
    "inconclusiveLimit": "inconclusive_limit",
    "consecutiveErrorLimit": "consecutive_error_limit",
    "consecutiveSuccessLimit": "consecutive_success_limit",
}
_ELSEWHERE: Final = ("name", "interval", "initialDelay", "count", "provider")
_LIMITS: Final = (
    "count",
    "failureLimit",
    "inconclusiveLimit",
    "consecutiveErrorLimit",
    "consecutiveSuccessLimit",
)


def read_template(
    document: Mapping[str, Any], arguments: Mapping[str, str] | None = None, semantics: Semantics = OURS
) -> tuple[ConditionCheck, ...]:
    """The checks of a template.

    Args:
        document: the file, read from YAML or JSON.
        arguments: values for `spec.args`, before the file's own; they may hold our placeholders.
        semantics: where to do as Argo does although we would not.

    Raises:
        CannotHonour: all fields that cannot be honoured, with the reasons.
    """
    findings = Findings()
    if document.get("kind") not in KINDS:
        findings.add("kind", f"expected {' or '.join(KINDS)}, found {document.get('kind')!r}")
        findings.settle()
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        findings.add("spec", "missing")
        findings.settle()
    return _checks(dict(spec or {}), dict(arguments or {}), semantics, findings)


def _checks(
    spec: dict[str, Any], given: dict[str, str], semantics: Semantics, findings: Findings
) -> tuple[ConditionCheck, ...]:
    known = ("metrics", "args", "dryRun", "measurementRetention")
    for name in [name for name in spec if name not in known]:
        why = (
            "other templates are not looked up; give their metrics in one file" if name == "templates" else ""
        )
        findings.add(f"spec.{name}", why or "unknown")
    arguments = _arguments(findings.mappings("spec.args", spec.get("args")), given, findings)
    metrics = findings.mappings("spec.metrics", spec.get("metrics"))
    if not metrics:
        findings.add("spec.metrics", "no metrics")
    dry_run = _dry_run(metrics, findings.mappings("spec.dryRun", spec.get("dryRun")), findings)
    checks = [
        _built(field, ConditionCheck, fields | {"semantics": semantics}, findings)
        for place, metric in enumerate(metrics)
        if (fields := _check(field := f"spec.metrics[{place}]", dict(metric), arguments, dry_run, findings))
    ]
    findings.settle()
    return tuple(check for check in checks if check is not None)


def _arguments(declared: Sequence[Any], given: dict[str, str], findings: Findings) -> dict[str, str]:
    values = {}
    for place, argument in enumerate(declared):
        name, field = str(argument.get("name")), f"spec.args[{place}]"
        if name in given:
            values[f"args.{name}"] = given[name]
        elif argument.get("valueFrom"):
            findings.add(
                f"{field}.valueFrom", f"{name} comes from a cluster that is not here; give its value"
            )
        elif argument.get("value") is None:
            findings.add(field, f"{name} has no value; give one")
        else:
            values[f"args.{name}"] = str(argument["value"])
    names = [argument.get("name") for argument in declared]
    for name in [name for name in given if name not in names]:
        findings.add("spec.args", f"{name} was given a value but is not declared")
    return values


def _dry_run(metrics: Sequence[Any], rules: Sequence[Any], findings: Findings) -> tuple[str, ...]:
    names = [str(metric.get("name")) for metric in metrics]
    try:
        return matching(names, [str(rule.get("metricName")) for rule in rules])
    except InvalidInput as error:
        findings.add(f"spec.{error.field}", error.message)
        return ()


def _check(
    field: str, raw: dict[str, Any], arguments: dict[str, str], dry_run: Sequence[str], findings: Findings
) -> dict[str, Any] | None:
    before = len(findings.found)
    unresolved = _unresolved(raw, arguments)
    if unresolved:
        findings.add(field, f"no value for {', '.join(unresolved)}")
        return None
    metric = filled(raw, arguments)
    for name in [name for name in metric if name not in _FIELDS and name not in _ELSEWHERE]:
        findings.add(f"{field}.{name}", "unknown")
    fields = _metric_fields(field, metric, findings) | {"dry_run": metric.get("name") in dry_run}
    provider = _provider(f"{field}.provider", metric.get("provider"), findings)
    if len(findings.found) > before or provider is None:
        return None
    return {"metric": fields, "provider": provider}


def _unresolved(raw: Any, arguments: dict[str, str]) -> list[str]:
    if isinstance(raw, str):
        return [name for name in placeholders(raw) if name.startswith("args.") and name not in arguments]
    parts = raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ()
    return list(dict.fromkeys(name for part in parts for name in _unresolved(part, arguments)))


def _metric_fields(field: str, metric: dict[str, Any], findings: Findings) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": metric.get("name")}
    for name in _LIMITS:
        if metric.get(name) is not None:
            metric[name] = _whole(f"{field}.{name}", metric[name], findings)
    _check_limits(field, metric, findings)
    fields |= {
        ours: metric[theirs] for theirs, ours in _FIELDS.items() if metric.get(theirs) not in (None, "")
    }
    fields["count"] = metric.get("count") or None
    fields["interval"] = _duration(f"{field}.interval", metric.get("interval"), findings) or None
    fields["initial_delay"] = _duration(f"{field}.initialDelay", metric.get("initialDelay"), findings) or 0
    return fields


def _check_limits(field: str, metric: dict[str, Any], findings: Findings) -> None:
    """Argo's own validation of a metric, in its words."""
    count, failures, successes = (
        int(metric.get(name) or 0) for name in ("count", "failureLimit", "consecutiveSuccessLimit")
    )
    if count > 0 and failures >= 0 and successes >= 0 and count < failures + successes:
        findings.add(
            f"{field}.count",
            f"count ({count}) must be >= failureLimit + consecutiveSuccessLimit "
            f"({failures} + {successes}) if both >= 0",
        )
    if 0 < count < int(metric.get("inconclusiveLimit") or 0):
        findings.add(f"{field}.count", "count must be >= inconclusiveLimit")
    if count > 1 and not metric.get("interval"):
        findings.add(f"{field}.interval", "an interval is needed when count > 1")
    if failures < -1:
        findings.add(f"{field}.failureLimit", "failureLimit must be >= 0, or -1 to be disabled")
    for name in ("inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit"):
        if int(metric.get(name) or 0) < 0:
            findings.add(f"{field}.{name}", f"{name} must be >= 0")
    if failures == -1 and successes == 0:
        findings.add(
            f"{field}.failureLimit", "failureLimit and consecutiveSuccessLimit cannot both be disabled"
        )


def _whole(field: str, value: Any, findings: Findings) -> int:
    try:
        return int(str(value))
    except ValueError:
        findings.add(field, f"{value!r} is not a whole number")
        return 0


def _duration(field: str, text: Any, findings: Findings) -> float:
    """A Go duration such as 1m30s, in seconds."""
    if text in (None, ""):
        return 0.0
    parts = _DURATION.findall(str(text))
    if "".join(number + unit for number, unit in parts) != str(text):
        findings.add(field, f"{text!r} is no duration such as 30s, 5m or 1h30m")
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _provider(field: str, provider: Any, findings: Findings) -> PrometheusProvider | WebProvider | None:
    if not isinstance(provider, Mapping) or len(provider) != 1:
        findings.add(field, "multiple providers specified" if provider else "no provider specified")
        return None
    ((kind, body),) = provider.items()
    readers = {"prometheus": _prometheus, "web": _web}
    if kind not in readers:
        reason = (
            "a Kubernetes Job; name a command of the control plane instead" if kind == "job" else "not here"
        )
        findings.add(f"{field}.{kind}", reason)
        return None
    (fields,) = findings.mappings(f"{field}.{kind}", [body or {}]) or ({},)
    return readers[kind](f"{field}.{kind}", dict(fields), findings)


def _prometheus(field: str, body: dict[str, Any], findings: Findings) -> PrometheusProvider | None:
    reasons = {
        "authentication": "credentials are in the worker's settings, by address",
        "headers": "headers are in the worker's settings, by address",
        "insecure": "certificates are always verified",
        "rangeQuery": "only instant queries; wrap it, as in max_over_time(…[5m])",
    }
    _refuse(field, body, ("address", "query", "timeout"), reasons, findings)
    fields = {"address": body.get("address"), "query": body.get("query")}
    if body.get("timeout"):
        fields["timeout"] = body["timeout"]
    return _built(field, PrometheusProvider, fields, findings)


def _web(field: str, body: dict[str, Any], findings: Findings) -> WebProvider | None:
    reasons = {
        "authentication": "credentials are in the worker's settings, by address",
        "insecure": "certificates are always verified",
    }
    known = ("url", "method", "headers", "body", "jsonBody", "timeoutSeconds", "jsonPath")
    _refuse(field, body, known, reasons, findings)
    listed = findings.mappings(f"{field}.headers", body.get("headers"))
    headers = {str(each.get("key")): str(each.get("value")) for each in listed}
    fields = {
        "url": body.get("url"),
        "headers": headers,
        "body": body.get("body"),
        "json_body": body.get("jsonBody"),
        "json_path": _json_path(body.get("jsonPath")),
    }
    fields |= {"method": body["method"]} if body.get("method") else {}
    fields |= {"timeout": body["timeoutSeconds"]} if body.get("timeoutSeconds") else {}
    return _built(field, WebProvider, fields, findings)


def _refuse(
    field: str, body: dict[str, Any], known: Sequence[str], reasons: dict[str, str], findings: Findings
) -> None:
    for name, value in body.items():
        if name not in known and value not in (None, False, {}, []):
            findings.add(f"{field}.{name}", reasons.get(name, "unknown"))


def _json_path(text: str | None) -> str | None:
    """Kubernetes writes JSONPath in braces, `{$.data}`; RFC 9535 does not."""
    if not text:
        return None
    stripped = text.strip()
    inner = stripped[1:-1] if stripped.startswith("{") and stripped.endswith("}") else stripped
    return inner if inner.startswith("$") else f"${inner if inner.startswith(('.', '[')) else f'.{inner}'}"


def _built(field: str, kind: type[P], fields: dict[str, Any], findings: Findings) -> P | None:
    try:
        return kind(**fields)
    except ValidationError as error:
        _note(field, error, findings)
        return None


def _note(field: str, error: ValidationError, findings: Findings) -> None:
    theirs = {ours: name for name, ours in _FIELDS.items()} | {
        "initial_delay": "initialDelay",
        "json_path": "jsonPath",
        "json_body": "jsonBody",
    }
    for each in error.errors():
        path = [
            theirs.get(str(part), str(part)) for part in each["loc"] if part not in ("metric", "provider")
        ]
        findings.add(".".join([field, *path]), own_words(each["msg"]))
