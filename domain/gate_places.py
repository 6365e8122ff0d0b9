"""Where a policy's gates stand in a plan, whatever strategy was asked for.

A gate comes before a wave of the environment's own strategy: so many nodes may change before people are
asked. Another strategy cannot raise that number, neither by fewer waves nor by larger ones.
"""

from collections.abc import Sequence

from domain.gate_rule import GateRule


def gates_by_slice(
    rules: Sequence[GateRule], slices: Sequence[int], own: Sequence[int]
) -> dict[int, list[GateRule]]:
    """The gates by the slice (counted from 1) of a plan that they come before.

    Args:
        rules: the policy's gates.
        slices: how many nodes change in each slice of the plan.
        own: the same of the plan that the policy's own strategy makes for these nodes.
    """
    found: dict[int, list[GateRule]] = {}
    for rule in rules:
        first = _first(rule, slices, own)
        for number, gate in _from(rule, first, len(slices)):
            found.setdefault(number, []).append(gate)
    return found


def _first(rule: GateRule, slices: Sequence[int], own: Sequence[int]) -> int:
    """The slice that a gate comes before: the one that it names, or an earlier one."""
    most = _changed_before(min(rule.before_wave, len(own)), own)
    first = min(rule.before_wave, len(slices))
    while _changed_before(first, slices) > most:
        first -= 1
    return first


def _from(rule: GateRule, first: int, last: int) -> list[tuple[int, GateRule]]:
    once = rule.model_copy(update={"every_wave": False})
    if not rule.every_wave or first == last < rule.before_wave:
        return [(first, once)]
    early = rule.model_copy(update={"before_wave": first})
    gates = [(number, early.before(number)) for number in range(first, last + 1)]
    return [(number, gate) for number, gate in gates if gate is not None]


def _changed_before(number: int, slices: Sequence[int]) -> int:
    return sum(slices[: number - 1])
