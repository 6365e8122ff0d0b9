"""Whether an amended plan is riskier than the one before it: then people approve it anew.

A plan is no wider than another when its waves are parts of that one's waves, in that one's order; when
whatever protects a wave there (gates, bakes, analyses, read-backs, pauses) protects each of its parts here,
no later and no weaker; and when its limits are no laxer. So narrowing what was narrowed is narrowing still.
"""

from collections.abc import Iterator
from typing import Final

from domain.console import count
from domain.names import NodeName
from domain.plan import Analyze, Bake, Gate, Plan, Step, Watch
from domain.steps import CHANGES, Keep, Pause, Renew

# What no amendment changes: a plan that differs in any of it is another plan altogether.
_FIXED: Final = (
    *("tenant", "environment", "release", "strategy", "replaces", "rollback", "ill", "deferred"),
    *("quarantined", "min_healthy", "guard", "hooks", "unsigned_votes", "amendment"),
)
_Placed = tuple[Step, int]  # a step, and the last of the old plan's waves of which a node changed before it
_ASKING: Final = (Gate, Pause, Watch)


def widens(old: Plan, new: Plan) -> tuple[str, ...]:
    """Why `new` is wider than `old`, in words; empty when it is not."""
    return tuple(dict.fromkeys((*_different(old, new), *_laxer(old, new), *_exposes(old, new))))


def _different(old: Plan, new: Plan) -> Iterator[str]:
    for name in _FIXED:
        if getattr(old, name) != getattr(new, name):
            yield f"{name} is another"


def _laxer(old: Plan, new: Plan) -> Iterator[str]:
    for name in ("node", "wave", "deployment"):
        before, after = getattr(old.deadlines, name), getattr(new.deadlines, name)
        if after > before:
            yield f"the deadline of a {name} is longer: {before:.0f} s → {after:.0f} s"
    if new.failures.share > old.failures.share:
        yield f"more nodes may fail: {old.failures.share:.0%} → {new.failures.share:.0%}"
    if new.failures.minimum_executed < old.failures.minimum_executed:
        yield "failures are a share of fewer nodes"


def _exposes(old: Plan, new: Plan) -> Iterator[str]:
    """Nodes that change together or earlier than before, and waves with less protection."""
    where = {name: wave.number for wave in old.waves for name in wave.nodes}
    wrong = _misplaced(new, where)
    if wrong is not None:
        yield wrong
        return
    origin = {wave.number: where[wave.nodes[0]] for wave in new.waves}
    missing = [wave.number for wave in old.waves if wave.number not in origin.values()]
    if missing:
        yield f"wave {missing[0]} is left out"
        return
    before = _placed(old, {wave.number: wave.number for wave in old.waves})
    after = _placed(new, origin)
    yield from _fewer_questions(before, after)
    yield from _weaker_parts(before, after, origin)


def _misplaced(new: Plan, where: dict[NodeName, int]) -> str | None:
    """A wave of the new plan that is no part of an old one, or comes before its turn."""
    strangers = [name for name in new.nodes if name not in where]
    if strangers:
        return f"{count(len(strangers), 'node')} more, {strangers[0]} first"
    latest = 0
    for wave in new.waves:
        origins = sorted(dict.fromkeys(where[name] for name in wave.nodes))
        if len(origins) > 1:
            return f"wave {wave.number} changes nodes of waves {origins[0]} and {origins[-1]} together"
        if origins[0] < latest:
            return f"wave {wave.number} changes nodes later than they were to be tried"
        latest = origins[0]
    return None


def _placed(plan: Plan, origin: dict[int, int]) -> list[_Placed]:
    """Each step with how far the rollout has come before it, counted in the old plan's waves."""
    placed, come = [], 0
    for step in plan.steps:
        placed.append((step, come))
        if step.kind in CHANGES:
            come = max(come, origin[step.wave])
    return placed


def _fewer_questions(before: list[_Placed], after: list[_Placed]) -> Iterator[str]:
    """Gates, pauses and the background analysis: none is missing, laxer or later."""
    for step, come in before:
        if isinstance(step, _ASKING) and not any(at <= come and _asks_as(each, step) for each, at in after):
            name = f"gate {step.rule.name}" if isinstance(step, Gate) else step.kind
            yield f"{name} before wave {step.wave} is missing, another, or later"


def _asks_as(new: Step, old: Step) -> bool:
    """Whether the new step asks or watches as the old one does, or holds for longer."""
    match new, old:
        case Pause(), Pause():
            return new.seconds is None or (old.seconds is not None and new.seconds >= old.seconds)
        case Gate(), Gate():
            return new.rule == old.rule
        case Watch(), Watch():
            return new.rule == old.rule
    return False


def _weaker_parts(before: list[_Placed], after: list[_Placed], origin: dict[int, int]) -> Iterator[str]:
    """Each part of a wave is prepared, read back, left to run and judged as that wave was."""
    whole = _by_wave(before)
    parts = _by_wave(after)
    for number, own in parts.items():
        for step, come in whole.get(origin[number], []):
            if not _matched(step, come, whole[origin[number]], own):
                yield f"wave {number}: {step.kind} is missing, shorter, another, or later"


def _by_wave(placed: list[_Placed]) -> dict[int, list[_Placed]]:
    found: dict[int, list[_Placed]] = {}
    for step, come in placed:
        found.setdefault(step.wave, []).append((step, come))
    return found


def _matched(step: Step, come: int, whole: list[_Placed], part: list[_Placed]) -> bool:
    """Whether the part has what this step is to its wave, before as many others change."""
    in_time = [each for each, at in part if at <= come]
    match step:
        case Bake() | Keep():
            kind = type(step)
            wanted = sum(each.seconds for each, at in whole if isinstance(each, kind) and at <= come)
            return sum(each.seconds for each in in_time if isinstance(each, kind)) >= wanted
        case Analyze():
            return any(isinstance(each, Analyze) and _as_strict(each, step) for each in in_time)
        case Renew():
            return any(isinstance(each, Renew) and each.nodes == step.nodes for each in in_time)
        case Gate() | Pause() | Watch():
            return True
    if step.kind in (early := _until_change(whole)):
        return early.count(step.kind) <= _until_change(part).count(step.kind)
    return any(each.kind == step.kind for each in in_time)


def _until_change(placed: list[_Placed]) -> list[str]:
    """The kinds of a wave's steps up to its change: they touch no other wave, whenever they come."""
    kinds: list[str] = [step.kind for step, _ in placed]
    return kinds[: next(place for place, kind in enumerate(kinds) if kind in CHANGES) + 1]


def _as_strict(new: Analyze, old: Analyze) -> bool:
    """The same look, as long or longer."""
    same = new.rule.model_copy(update={"duration": old.rule.duration}) == old.rule
    return same and new.against == old.against and new.rule.duration >= old.rule.duration
