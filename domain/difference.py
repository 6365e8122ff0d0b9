"""What differs between two plans, for people who approved one and are asked about another."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from domain.base import Frozen
from domain.names import NodeName
from domain.plan import Plan, Step

_APART = {"waves": True, "steps": True}  # compared by their meaning, not field by field


class Moved(Frozen):
    """A node that changes in another wave; None is "not at all"."""

    node: NodeName
    before: int | None
    after: int | None


class Changed(Frozen):
    """A field, by its path, with both values as JSON has them."""

    field: str
    before: Any
    after: Any


class Difference(Frozen):
    """From one plan to another; empty when they are the same."""

    nodes: tuple[Moved, ...] = ()
    steps_gone: tuple[str, ...] = ()
    steps_new: tuple[str, ...] = ()
    fields: tuple[Changed, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the plans say the same, and so have one digest."""
        return not (self.nodes or self.steps_gone or self.steps_new or self.fields)


def difference(before: Plan, after: Plan) -> Difference:
    """What somebody has to know who knows `before` and gets `after`."""
    waves = [{name: wave.number for wave in plan.waves for name in wave.nodes} for plan in (before, after)]
    names = dict.fromkeys((*before.nodes, *after.nodes))
    moved = [Moved(node=name, before=waves[0].get(name), after=waves[1].get(name)) for name in sorted(names)]
    gone, new = _steps(before, after)
    documents = [plan.model_dump(mode="json", exclude=_APART) for plan in (before, after)]
    return Difference(
        nodes=tuple(each for each in moved if each.before != each.after),
        steps_gone=gone,
        steps_new=new,
        fields=changed_fields(documents[0], documents[1]),
    )


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Changed, ...]:
    """The fields in which two JSON documents differ. A list is one field."""
    old, new = dict(_flat("", before)), dict(_flat("", after))
    return tuple(
        Changed(field=field, before=old.get(field), after=new.get(field))
        for field in dict.fromkeys((*old, *new))
        if old.get(field) != new.get(field)
    )


def described(step: Step) -> str:
    """A step with all that it says, on one line: "bake wave 2 seconds=30.0"."""
    facts = {
        key: value for key, value in _flat("", step.model_dump(mode="json")) if key not in ("kind", "wave")
    }
    words = [step.kind, f"wave {step.wave}", *(f"{key}={value}" for key, value in facts.items())]
    return " ".join(words)


def _steps(before: Plan, after: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    old, new = ([described(step) for step in plan.steps] for plan in (before, after))
    changes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    gone = [line for tag, start, end, _, _ in changes if tag != "equal" for line in old[start:end]]
    fresh = [line for tag, _, _, start, end in changes if tag != "equal" for line in new[start:end]]
    return tuple(gone), tuple(fresh)


def _flat(path: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _flat(name, value)
        else:
            yield name, value
