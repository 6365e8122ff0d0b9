"""The steps of a blue-green rollout and of custom lists, and what must come before what in any plan."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import Field

from domain.base import Frozen
from domain.names import NodeName


class Start(Frozen):
    """Run the release beside what runs on the wave's nodes, where the public does not reach it."""

    kind: Literal["start"] = "start"
    wave: int


class Smoke(Frozen):
    """Check what runs beside, on every node of the wave, as the manifest's smoke test says."""

    kind: Literal["smoke"] = "smoke"
    wave: int


class Switch(Frozen):
    """Let the public in to what runs beside, on all nodes of the wave; what ran until then stays beside."""

    kind: Literal["switch"] = "switch"
    wave: int


class Keep(Frozen):
    """Leave what was replaced running for `seconds`, for an instant return; then read back."""

    kind: Literal["keep"] = "keep"
    wave: int
    seconds: float = Field(ge=0)


class Retire(Frozen):
    """End what was replaced and still runs beside; its release stays on the node's disk."""

    kind: Literal["retire"] = "retire"
    wave: int


class Renew(Frozen):
    """Restart the stable release on nodes of later waves: the fresh baseline that the wave is judged against.

    A new process of the same release takes over, as in a swap, so that both sides have run equally long.
    """

    kind: Literal["renew"] = "renew"
    wave: int
    nodes: tuple[NodeName, ...] = Field(min_length=1)


class Pause(Frozen):
    """Hold until a person resumes; with `seconds`, at most so long."""

    kind: Literal["pause"] = "pause"
    wave: int
    seconds: float | None = Field(default=None, gt=0)


CHANGES: Final = ("activate", "switch")
TOUCHING: Final = ("start", *CHANGES)  # from the first of these on there is something to take back
_ONCE: Final = ("stage", "start", "activate", "switch", "retire")
_COMPARES: Final = ("analyze", "renew")
# What a step needs to have happened to its wave; one of the words in each tuple is enough.
_NEEDS: Final = {
    "start": ("stage",),
    "activate": ("stage",),
    "smoke": ("start",),
    "switch": ("start",),
    "verify": CHANGES,
    "renew": CHANGES,
    "bake": CHANGES,
    "analyze": CHANGES,
    "keep": ("switch",),
    "retire": ("switch",),
}


def disorder(steps: Sequence[tuple[str, int]], waves: int) -> tuple[int, str] | None:
    """What is wrong with the order of a plan's steps: a step's index and the reason; None when nothing is.

    Waves change one after the other, each once and after its release was brought to its nodes; whatever
    looks at a wave comes after its change, and every change is read back.

    Args:
        steps: kind and wave of each.
        waves: how many waves there are.
    """
    done: dict[int, list[str]] = {number: [] for number in range(1, waves + 1)}
    for index, (kind, wave) in enumerate(steps):
        if wave not in done:
            return index, f"there is no wave {wave}: the plan has {waves}"
        reason = _too_early_or_late(kind, wave, done)
        if reason is not None:
            return index, reason
        done[wave].append(kind)
    for wave, kinds in done.items():
        if not _changed(kinds):
            return len(steps) - 1, f"wave {wave} is never activated or switched"
        last = max(index for index, kind in enumerate(kinds) if kind in CHANGES)
        if "verify" not in kinds[last:]:
            return len(steps) - 1, f"wave {wave} is changed and never verified"
    return None


def _too_early_or_late(kind: str, wave: int, done: dict[int, list[str]]) -> str | None:
    kinds = done[wave]
    needs = _NEEDS.get(kind, ())
    if needs and not any(need in kinds for need in needs):
        return f"{kind} of wave {wave} comes before its {' or '.join(needs)}"
    if kind in _ONCE and kind in kinds:
        return f"{kind} of wave {wave} comes twice"
    if kind in CHANGES:
        if _changed(kinds):
            return f"wave {wave} is changed already when {kind} comes"
        if "start" in kinds and kind == "activate":
            return f"wave {wave} was started beside: it is switched, not activated"
        if wave > 1 and not _changed(done[wave - 1]):
            return f"wave {wave} changes before wave {wave - 1}"
    if kind in _COMPARES and _changed(done.get(wave + 1, [])):
        return (
            f"{kind} of wave {wave} comes after wave {wave + 1} has changed: nothing is left to compare with"
        )
    return None


def _changed(kinds: list[str]) -> bool:
    return any(kind in CHANGES for kind in kinds)
