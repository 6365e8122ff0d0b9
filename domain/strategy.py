"""How a release reaches the nodes: parameters only; `domain.planner` compiles them to a plan."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from domain.base import Strict
from domain.custom_steps import CustomStep, Size

Percent = Annotated[int, Field(ge=1, le=100)]
Bake = Annotated[float, Field(ge=0, le=7 * 86400)]
# A number of nodes, or a share of them such as "25%".
Amount = Annotated[int, Field(ge=1, le=100_000)] | Annotated[str, Field(pattern=r"^([1-9]\d?|100)%$")]


def resolve(amount: Amount, total: int) -> int:
    """How many of `total` an amount is: at least one, a share rounded down."""
    if isinstance(amount, int):
        return amount
    return max(1, total * int(amount.removesuffix("%")) // 100)


class Direct(Strict):
    """All nodes at once; with `max_unavailable`, in as many waves as that takes (see Rolling)."""

    kind: Literal["direct"] = "direct"
    max_unavailable: Amount | None = None


class Canary(Strict):
    """Growing waves, each judged against the nodes that are not changed yet.

    Attributes:
        shares: cumulative percent of the nodes after each wave; ends at 100.
        bake: seconds to let the last wave run, health-gated, where no baseline is left to judge against.
        first_bake: seconds that the first wave runs, health-gated, before it is judged.
        max_unavailable: see Rolling; a share with more nodes of a zone than that is changed in several waves,
            and judged after the last of them. None sets no limit.
    """

    kind: Literal["canary"] = "canary"
    shares: tuple[Percent, ...] = Field(default=(10, 30, 50, 100), min_length=1, max_length=50)
    bake: Bake = 60
    first_bake: Bake = 0
    max_unavailable: Amount | None = None

    @model_validator(mode="after")
    def _grows_to_all(self) -> Self:
        if list(self.shares) != sorted(dict.fromkeys(self.shares)) or self.shares[-1] != 100:
            raise ValueError("shares must grow and end at 100")
        return self


class Rolling(Strict):
    """Batch after batch, each read back and left to run before the next.

    Attributes:
        batch: nodes that change together, a number or a share of the environment.
        max_unavailable: how many of them may be of one failure domain (zone), a number or a share of the
            zone's nodes; a zone never has more of its nodes in change than that. Nodes without a zone label
            count as one zone.
        bake: seconds that each batch runs, health-gated, before the next.
        first_bake: the same after the first batch, where a longer look pays; with `by_zone`, after each
            batch of the first zone.
        by_zone: one zone after the other, never two in one batch.
    """

    kind: Literal["rolling"] = "rolling"
    batch: Amount = 2
    max_unavailable: Amount = 1
    bake: Bake = 30
    first_bake: Bake | None = None
    by_zone: bool = False


class BlueGreen(Strict):
    """The release complete beside what runs, on every node; tested there; then all nodes switched at once.

    Attributes:
        watch: seconds to let it run, health-gated, right after the switch.
        analyze: judge the nodes after the switch too, by their own health: all have changed, so that there
            is nothing else to compare with.
        keep: seconds after that for which what was replaced runs on, for an instant return.
    """

    kind: Literal["blue-green"] = "blue-green"
    watch: Bake = 60
    analyze: bool = False
    keep: Bake = 600


class Custom(Strict):
    """A list of steps.

    Attributes:
        waves: how many nodes each wave has, a number or a share of the environment; the last may be "rest".
            Nodes are spread over zones, roles and architectures as for a canary.
        max_unavailable: see Rolling; a wave that is activated with more is refused.
        steps: what is done, in order. The policy's gates hold whether the list names them or not.
    """

    kind: Literal["custom"] = "custom"
    waves: tuple[Size, ...] = Field(min_length=1, max_length=100)
    max_unavailable: Amount | None = None
    steps: tuple[CustomStep, ...] = Field(min_length=1, max_length=1000)


UNDO: Final = "undo"


class Undo(Strict):
    """Back to an earlier release at once, on the nodes that differ. Nobody asks for it as a strategy."""

    kind: Literal["undo"] = UNDO


Strategy = Annotated[Direct | Canary | Rolling | BlueGreen | Custom, Field(discriminator="kind")]
# What a stored deployment may go by.
StoredStrategy = Annotated[Direct | Canary | Rolling | BlueGreen | Custom | Undo, Field(discriminator="kind")]
