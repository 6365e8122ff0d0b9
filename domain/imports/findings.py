"""What an import could not honour."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.base import Frozen
from domain.errors import InvalidInput


class Finding(Frozen):
    """One field of the file, and why it cannot be honoured."""

    field: str
    reason: str


class CannotHonour(InvalidInput):
    """The file asks for something that we do not do; all findings at once."""

    code = "cannot-honour"

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(
            "; ".join(f"{each.field}: {each.reason}" for each in findings), field=findings[0].field
        )
        self.findings = tuple(findings)


class Findings:
    """Collects findings while a file is read."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def add(self, field: str, reason: str) -> None:
        """Note one."""
        self.found.append(Finding(field=field, reason=reason))

    def mappings(self, field: str, value: Any) -> list[Mapping[str, Any]]:
        """The value as a list of mappings; what is none of it is noted and left out."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.add(field, "a list is needed")
            return []
        for place, each in enumerate(value):
            if not isinstance(each, Mapping):
                self.add(f"{field}[{place}]", "a mapping is needed")
        return [each for each in value if isinstance(each, Mapping)]

    def settle(self) -> None:
        """Refuse the file if there are any.

        Raises:
            CannotHonour: with all of them.
        """
        if self.found:
            raise CannotHonour(self.found)
