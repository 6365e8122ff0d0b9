"""Every field of every request, at its limits and beyond: made from the API's own document.

Each body also holds a field that no request has, so all of them are refused and none does anything; what
counts is whether the field in question is named among the faults.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import TENANT, World

FOREIGN = "no_such_field"
WRONG = {"string": {"an": "object"}, "number": "many", "integer": 0.5, "boolean": "perhaps", "object": "text"}
NO_NAME = "\x7f no name \n"
DEEPEST = 3
# What the document cannot say: only some of the values of these fields can be had.
MORE_RULES = {"arrival", "zone"}
# Agents of a later version may say more than we know.
TOLERANT = "/heartbeat"

Document = dict[str, Any]
Probe = tuple[Any, bool]  # a value, and whether the field may have it


def kinds(document: Document, schema: Document) -> list[Document]:
    """What a field may be, without null and without references."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return [kind for each in schema["anyOf"] for kind in kinds(document, each)]
    return [] if schema.get("type") == "null" else [schema]


def probes(kind: Document) -> Iterator[Probe]:
    """Values around the limits of one kind of field."""
    named = kind.get("type")
    if named in WRONG:
        yield WRONG[named], False
    if "enum" in kind:
        yield NO_NAME, False
        yield from ((each, True) for each in kind["enum"])
    if "pattern" in kind and not re.search(kind["pattern"], NO_NAME):
        yield NO_NAME, False
    free = not {"pattern", "enum", "format"} & set(kind)
    if (shortest := kind.get("minLength", 0)) > 0:
        yield "x" * (shortest - 1), False
        yield from [("x" * shortest, True)] if free else []
    if "maxLength" in kind:
        yield "x" * (kind["maxLength"] + 1), False
        yield from [("x" * kind["maxLength"], True)] if free else []
    step = 1 if named == "integer" else 1e-6
    for limit, beyond in (("minimum", -step), ("maximum", step)):
        if limit in kind:
            yield kind[limit] * 2 if abs(kind[limit]) > 2**53 else kind[limit] + beyond, False
            yield kind[limit], True
    for limit in ("exclusiveMinimum", "exclusiveMaximum"):
        if limit in kind:
            yield kind[limit], False


def fields(
    document: Document, schema: Document, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Probe]]:
    """Each field of a body, its own fields too, with the values to try."""
    for name, field in schema.get("properties", {}).items():
        found = kinds(document, field)
        if len(found) != 1:  # one of several: what is no fault as one is a fault as the other
            continue
        tried = [probe for probe in probes(found[0]) if not (probe[1] and name in MORE_RULES)]
        yield from (((*path, name), probe) for probe in tried)
        if len(path) < DEEPEST:
            yield from fields(document, found[0], (*path, name))


def bodies(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Each route with a JSON body."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                for schema in kinds(document, content["application/json"]["schema"]):
                    yield method.upper(), "http://api" + re.sub(r"{\w+}", "none", path), schema


def nested(path: tuple[str, ...], value: Any) -> Any:
    return {path[0]: nested(path[1:], value)} if path else value


@pytest.mark.finding("3")
@pytest.mark.finding("X8")
async def test_every_field_of_a_body_is_refused_beyond_its_limits_and_no_other_is_taken(world: World) -> None:
    document = world.app.openapi()
    before, tried, wrong = await world.rows(), 0, []
    node = {"Authorization": f"Bearer {world.services.minter.node(tenant=TENANT, node='none').token}"}
    async with world.asks("admin") as admin:
        for method, url, schema in bodies(document):
            tolerant = url.endswith(TOLERANT)
            for path, (value, fits) in fields(document, schema, ()):
                body = {**nested(path, value), FOREIGN: 1}
                answer = await admin.request(method, url, json=body, headers=node if tolerant else None)
                assert answer.status_code == 422, (method, url, path, answer.text)
                named = {each["field"] for each in answer.json()["errors"]}
                field = ".".join(path)
                tried += 1
                refused = any(f"{each}.".startswith(f"{field}.") for each in named)
                if (FOREIGN in named) == tolerant or (fits and refused) or not (fits or refused):
                    wrong.append((method, url, field, value, fits, named))
    assert wrong == []
    assert await world.rows() == before
    assert tried > 300, tried
    print(f"\n{tried} values of fields of bodies")


@pytest.mark.finding("3")
async def test_every_query_is_refused_beyond_its_limits(world: World) -> None:
    document = world.app.openapi()
    tried, wrong = 0, []
    async with world.asks("admin") as admin:
        for path, item in document["paths"].items():
            url = "http://api" + re.sub(r"{\w+}", "none", path)
            for method, operation in item.items():
                queries = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
                for query, kind in (
                    (each, kind) for each in queries for kind in kinds(document, each["schema"])
                ):
                    for value, fits in probes(kind):
                        if fits or (isinstance(value, dict) and kind["type"] == "string"):
                            continue  # every text is a text here
                        answer = await admin.request(method, url, params={query["name"]: value})
                        tried += 1
                        named = {each["field"] for each in answer.json().get("errors", ())}
                        if answer.status_code != 422 or query["name"] not in named:
                            wrong.append((method, path, query["name"], value, answer.status_code))
    assert wrong == []
    assert tried > 50, tried
    print(f"\n{tried} values of queries")
