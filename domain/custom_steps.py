"""Custom step lists: what a person writes. `domain.custom` compiles them to plans."""

from typing import Annotated, Literal

from pydantic import Field

from domain.base import Strict
from domain.names import GateName

WaveNumber = Annotated[int, Field(ge=1, le=100)]
Wait = Annotated[float, Field(ge=0, le=7 * 86400)]
Size = (
    Annotated[int, Field(ge=1, le=100_000)]
    | Annotated[str, Field(pattern=r"^([1-9]\d?|100)%$")]
    | Literal["rest"]
)


class OnNodes(Strict):
    """One operation on each node of a wave."""

    step: Literal["stage", "start", "smoke", "activate", "switch", "verify", "retire"]
    wave: WaveNumber


class LetRun(Strict):
    """Let a wave run (bake), or leave running what it replaced (keep); then read back."""

    step: Literal["bake", "keep"]
    wave: WaveNumber
    seconds: Wait


class Judge(Strict):
    """The policy's analysis of a wave, for another time if `duration` says so (seconds).

    `against` is the nodes that are not changed yet (baseline) or absolute limits (health); without it
    whichever there is.
    """

    step: Literal["analyze"]
    wave: WaveNumber
    duration: Annotated[float, Field(gt=0, le=90 * 86400)] | None = None
    against: Literal["baseline", "health"] | None = None


class Ask(Strict):
    """One of the policy's gates, by name, earlier than the policy has it."""

    step: Literal["gate"]
    name: GateName


class Hold(Strict):
    """Hold until a person resumes; with `seconds`, at most so long."""

    step: Literal["pause"]
    seconds: Annotated[float, Field(gt=0, le=90 * 86400)] | None = None


CustomStep = Annotated[OnNodes | LetRun | Judge | Ask | Hold, Field(discriminator="step")]
