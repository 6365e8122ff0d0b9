"""Hooks: others are told, or asked, before and after a deployment, a wave, a node's change and a rollback.

What is called is a rule of the environment's policy; it is part of the plan and so of what people approve.
Secrets and programs are not: the rule names them, the worker's settings have them. Times are seconds.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from domain.base import Frozen, Strict

HookName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Wording = Annotated[str, StringConstraints(max_length=1000)]
LONGEST_BESIDE = 120.0  # what a hook may take in all where nothing may wait for it long
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # between two attempts: doubled each time, up to the longest


class HookPoint(StrEnum):
    """When a hook is called."""

    BEFORE_DEPLOYMENT = "before-deployment"
    AFTER_DEPLOYMENT = "after-deployment"
    BEFORE_WAVE = "before-wave"
    AFTER_WAVE = "after-wave"
    BEFORE_NODE = "before-node"
    AFTER_NODE = "after-node"
    BEFORE_ROLLBACK = "before-rollback"
    AFTER_ROLLBACK = "after-rollback"


# Nothing can be stopped any more at these, or nothing may be.
TOLD_ONLY: Final = (HookPoint.AFTER_DEPLOYMENT, HookPoint.BEFORE_ROLLBACK, HookPoint.AFTER_ROLLBACK)
OF_NODES: Final = (HookPoint.BEFORE_NODE, HookPoint.AFTER_NODE)


class HttpCall(Strict):
    """A POST with a JSON body; signed when `secret` names one of the worker's settings."""

    kind: Literal["http"] = "http"
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(/[^\s]*)?$", max_length=2000)]
    secret: HookName | None = None


class CommandCall(Strict):
    """A program of the worker's settings; it gets the same JSON on its standard input."""

    kind: Literal["command"] = "command"
    command: HookName


class HookRule(Strict):
    """One hook.

    Attributes:
        at: when it is called.
        call: what is called.
        polled: it is asked again and again until it answers CONTINUE or ABORT; else a good answer is enough.
        timeout: seconds for one attempt; attempts: how many, as long as failures may be passing.
        on_failure: what then: stop (turn back; a node counts as failed), ignore, or hold for a person.
        poll_every: seconds between two questions; give_up_after: how long to ask in all.
    """

    name: HookName
    at: HookPoint
    call: Annotated[HttpCall | CommandCall, Field(discriminator="kind")]
    polled: bool = False
    timeout: Annotated[float, Field(gt=0, le=300)] = 10
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    on_failure: Literal["stop", "ignore", "hold"] = "stop"
    poll_every: Annotated[float, Field(ge=1, le=3600)] = 10
    give_up_after: Annotated[float, Field(gt=0, le=14 * 86400)] = 3600

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.at in TOLD_ONLY and (self.on_failure != "ignore" or self.polled):
            raise ValueError(f"on_failure: a hook {self.at} can stop nothing: ignore, and not polled")
        if self.at in OF_NODES and (self.on_failure == "hold" or self.polled):
            raise ValueError(f"on_failure: a hook {self.at} can stop or be ignored, and is not polled")
        if self.at in (*TOLD_ONLY, *OF_NODES) and self.budget > LONGEST_BESIDE:
            raise ValueError(
                f"attempts: {self.budget:g} s in all are too long for {self.at}: {LONGEST_BESIDE:g} s at most"
            )
        return self

    @property
    def budget(self) -> float:
        """What one call may take in all, the pauses between attempts included."""
        pauses = sum(pause_before(attempt) for attempt in range(2, self.attempts + 1))
        return self.attempts * self.timeout + pauses

    @property
    def longest(self) -> float:
        """What the hook may take in all: one call, or all the asking."""
        return self.budget + (self.give_up_after if self.polled else 0.0)


def pause_before(attempt: int) -> float:
    """How long to wait before this attempt; none before the first."""
    return 0.0 if attempt < 2 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 2))


class HookResult(StrEnum):
    """What came of a hook. Waits: it is polled and has not decided yet."""

    DONE = "done"
    WAITS = "waits"
    ABORTED = "aborted"
    FAILED = "failed"


class HookOrder(Frozen):
    """One call: the rule, and what the called one is told.

    `outcome` says how it went, after something; `cause` why, where it went wrong.
    """

    rule: HookRule
    tenant: str
    environment: str
    deployment: str
    module: str
    version: str
    plan: str = ""
    wave: int | None = None
    node: str | None = None
    outcome: str | None = None
    cause: str | None = None

    @property
    def id(self) -> str:
        """The same in every attempt, so that a receiver can tell a repeat."""
        place = [str(each) for each in (self.wave, self.node) if each is not None]
        return ":".join([self.deployment, self.rule.at, *place, self.rule.name])

    def payload(self) -> dict[str, Any]:
        """The JSON that is sent."""
        said = self.model_dump(mode="json", exclude={"rule": True})
        return {"id": self.id, "hook": self.rule.name, "point": self.rule.at, **said}


class HookAnswer(Strict):
    """What a polled hook answers."""

    status: Literal["CONTINUE", "WAIT", "ABORT"]
    explanation: Wording = ""
    link: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s]+)?$", max_length=2000)] = ""


class HookOutcome(Frozen):
    """What came of a hook, in words; `attempts` counts the last call's."""

    result: HookResult
    message: str
    link: str = ""
    attempts: int = 1


def read_answer(body: bytes) -> HookAnswer | None:
    """A polled hook's answer; None when it is not one."""
    try:
        return HookAnswer.model_validate_json(body)
    except ValidationError:
        return None


class HookRun(Frozen):
    """The last that is known of one hook of a deployment."""

    id: str
    hook: str
    point: HookPoint
    wave: int | None = None
    node: str | None = None
    result: HookResult
    message: str
    link: str = ""
    attempts: int = 1


Boundary = tuple[HookPoint, int | None]  # the point, and the wave where it is of one


def boundaries_before(steps: Sequence[tuple[str, int]], index: int) -> list[Boundary]:
    """Which hooks are due before a step, of (kind, wave) steps: a wave begins once its gates are passed."""
    kind, wave = steps[index]
    found: list[Boundary] = [(HookPoint.BEFORE_DEPLOYMENT, None)] if index == 0 else []
    begun = any(each == wave and name != "gate" for name, each in steps[:index])
    if kind != "gate" and not begun:
        found.append((HookPoint.BEFORE_WAVE, wave))
    return found


def boundaries_after(steps: Sequence[tuple[str, int]], index: int) -> list[Boundary]:
    """Which hooks are due after a step: a wave is over with its last step."""
    wave = steps[index][1]
    over = all(each != wave for _, each in steps[index + 1 :])
    return [(HookPoint.AFTER_WAVE, wave)] if over else []
