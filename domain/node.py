"""A node: one host that runs the agent."""

from typing import Annotated

from pydantic import Field, StringConstraints

from domain.base import Frozen
from domain.names import EnvironmentName, NodeName

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
Address = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.\[\]:-]+:\d{1,5}$")]

# The labels that make nodes different enough for a release to fail on one kind only.
CLASS_LABELS = ("zone", "role", "arch")


class Node(Frozen):
    """A node as the inventory knows it. `address` is the agent's URL."""

    name: NodeName
    environment: EnvironmentName
    address: Address
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=64)
