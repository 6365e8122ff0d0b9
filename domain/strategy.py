"""How a release reaches the nodes: parameters only; `domain.planner` compiles them to a plan."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from domain.base import Strict

Percent = Annotated[int, Field(ge=1, le=100)]


class Direct(Strict):
    """All nodes at once."""

    kind: Literal["direct"] = "direct"


class Canary(Strict):
    """Growing waves, each judged against the nodes that are not changed yet.

    Attributes:
        shares: cumulative percent of the nodes after each wave; ends at 100.
        bake: seconds to let the last wave run, health-gated, where no baseline is left to judge against.
    """

    kind: Literal["canary"] = "canary"
    shares: tuple[Percent, ...] = Field(default=(10, 30, 50, 100), min_length=1, max_length=50)
    bake: float = Field(default=60, ge=0, le=7 * 86400)

    @model_validator(mode="after")
    def _grows_to_all(self) -> Self:
        if list(self.shares) != sorted(dict.fromkeys(self.shares)) or self.shares[-1] != 100:
            raise ValueError("shares must grow and end at 100")
        return self


Strategy = Annotated[Direct | Canary, Field(discriminator="kind")]
