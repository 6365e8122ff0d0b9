"""Domain objects cannot be changed, and nothing in the product writes into what they hold."""

import ast
import collections.abc
import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

import domain
from tests.test_structure import FILES, ROOT

# The working memory of one computation; what leaves it is frozen.
AT_WORK = {
    "domain.conditions.expression.Expression",
    "domain.imports.findings.Findings",
    "domain.judges.streams.CountStream",
    "domain.judges.streams.LevelStream",
    "domain.judges.tracks.Track",
}
CHANGEABLE = (
    list,
    set,
    bytearray,
    collections.abc.MutableSequence,
    collections.abc.MutableSet,
    collections.abc.MutableMapping,
)
WRITES = {"update", "pop", "popitem", "clear", "setdefault", "append", "extend", "insert", "remove", "add"}


def classes() -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            ours = found.__module__ == module.name and not issubclass(found, Enum | Exception)
            if ours and not found.__name__.startswith("_") and not getattr(found, "_is_protocol", False):
                yield found


def fields(found: type[Any]) -> dict[str, Any]:
    if issubclass(found, BaseModel):
        return {name: field.annotation for name, field in found.model_fields.items()}
    return typing.get_type_hints(found) if dataclasses.is_dataclass(found) else {}


def parts(annotation: Any) -> Iterator[Any]:
    yield typing.get_origin(annotation) or annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


CLASSES = {f"{found.__module__}.{found.__name__}": found for found in classes()}
LASTING = {name: found for name, found in CLASSES.items() if name not in AT_WORK}
OTHERS = {"headers"}  # of HTTP answers and clients, too
MAPPINGS = {
    name for found in LASTING.values() for name, kind in fields(found).items() if dict in parts(kind)
} - OTHERS


@pytest.mark.finding("2")
@pytest.mark.parametrize("name", LASTING)
def test_no_field_can_be_set_and_no_collection_is_a_list_or_a_set(name: str) -> None:
    found = LASTING[name]
    if issubclass(found, BaseModel):
        assert found.model_config.get("frozen")
    elif not issubclass(found, tuple):
        assert dataclasses.is_dataclass(found), "neither a model nor a frozen dataclass"
        assert found.__dataclass_params__.frozen  # type: ignore[attr-defined]
    wrong = {field for field, kind in fields(found).items() if set(CHANGEABLE) & set(parts(kind))}
    assert wrong == set()


def is_write_into_a_field(node: ast.AST) -> bool:
    """`x.labels[…] = …`, `del x.labels[…]`, `x.labels.update(…)`; not where an object works on itself."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        held: ast.expr = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
        held = node.func.value
    else:
        return False
    if not isinstance(held, ast.Attribute) or held.attr not in MAPPINGS:
        return False
    return not (isinstance(held.value, ast.Name) and held.value.id == "self")


@pytest.mark.finding("2")
def test_nothing_writes_into_a_mapping_of_a_domain_object() -> None:
    """A dict is one of them, for pydantic's sake, so this is held by looking at who writes."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if is_write_into_a_field(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code", ["node.labels['zone'] = 'a'", "del a.b.labels['x']", "node.labels.update(x=1)"]
)
def test_the_search_sees_what_it_must(code: str) -> None:
    assert any(map(is_write_into_a_field, ast.walk(ast.parse(code))))
