"""A release: an immutable version of a module."""

from enum import StrEnum

from domain.base import Frozen
from domain.names import ModuleName, Sha256, Version


class Kind(StrEnum):
    """How the agent swaps a module: which driver it uses."""

    PROCESS = "process"
    FILES = "files"


class ReleaseRef(Frozen):
    """Names one release beyond doubt.

    Attributes:
        module: the module's name.
        version: its semantic version.
        digest: SHA-256 of the bundle's bytes (what the signature covers).
        tree: hash of the unpacked content (what a node can read back from its disk).
    """

    module: ModuleName
    version: Version
    digest: Sha256
    tree: Sha256

    def __str__(self) -> str:
        """As people name it: module@version."""
        return f"{self.module}@{self.version}"
