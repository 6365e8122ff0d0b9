"""What a stack answers to every question: each GET route of its own OpenAPI document, about what there is."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final

import httpx

from tests.stack.running import RunningStack

# Of this moment: what a process counts, what nodes measure now, and a page that a link's token opens.
OF_NOW: Final = (
    "/metrics",
    "/api/v1/nodes/{node}/metrics",
    "/api/v1/clusters/{environment}/metrics",
    "/api/v1/votes",
)
# Fields that say when something was heard of, or what a node has of a resource at that moment.
MOMENTARY: Final = frozenset({"last_seen", "disk_free_bytes"})
STREAMS: Final = ("/api/v1/deployments/{deployment}/events", "/api/v1/promotions/{promotion}/events")
_NAME: Final = re.compile(r"{(\w+)}")


def ask_everything(
    stack: RunningStack, token: str, known: Mapping[str, Iterable[str]], ended: Mapping[str, Iterable[str]]
) -> dict[str, Any]:
    """Every answer by its path.

    Args:
        token: of an admin of the platform.
        known: ids of what there is, by the name that paths and queries give it.
        ended: those that have come to their end, for streams.
    """
    headers = {"Authorization": f"Bearer {token}"}
    found = {}
    with httpx.Client(base_url=stack.admin.target.url, headers=headers, timeout=30) as client:
        document = client.get("/api/v1/openapi.json").raise_for_status().json()
        for path, query in _questions(document, known, ended):
            answer = client.get(path, params=query)
            assert answer.status_code == httpx.codes.OK, f"{path} {query}: {answer.text}"
            is_json = answer.headers["content-type"].startswith("application/json")
            found[f"{path} {query or ''}".strip()] = answer.json() if is_json else answer.text
    return found


def _questions(
    document: Mapping[str, Any], known: Mapping[str, Iterable[str]], ended: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    for path, methods in document["paths"].items():
        if "get" not in methods or path in OF_NOW:
            continue
        ids = ended if path in STREAMS else known
        needed = [
            each["name"]
            for each in methods["get"].get("parameters", ())
            if each["in"] == "query" and each.get("required")
        ]
        for values in product(*(ids[name] for name in (*_NAME.findall(path), *needed))):
            named = dict(zip((*_NAME.findall(path), *needed), values, strict=True))
            yield path.format(**named), {name: named[name] for name in needed}


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], but: frozenset[str] = frozenset()
) -> dict[str, tuple[Any, Any]]:
    """What is said differently, by path and place within the answer; fields of these names are left out."""
    told = [dict(_leaves(each, "", MOMENTARY | but)) for each in (before, after)]
    places = [place for place in {**told[0], **told[1]} if told[0].get(place) != told[1].get(place)]
    return {place: (told[0].get(place), told[1].get(place)) for place in places}


def _leaves(value: Any, place: str, left_out: frozenset[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in left_out:
                yield from _leaves(part, f"{place} {name}", left_out)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{place} {number}", left_out)
    else:
        yield place, value
