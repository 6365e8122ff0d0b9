"""A freeze: a stretch of time in which nothing new starts on an environment's nodes.

It comes from the environment's calendar (`domain.calendar`) or from a person who froze it now. Rollbacks
may always run in one; a declared hotfix may, behind its own gate.
"""

from domain.base import Frozen
from domain.console import clock


class Freeze(Frozen):
    """Why nothing may start now.

    `until` is when that ends by itself, in seconds since the epoch; None: a person has to thaw it.
    """

    reason: str
    until: float | None = None

    @property
    def end(self) -> str:
        """When it ends, for people."""
        return "until it is thawed" if self.until is None else f"until {clock(self.until)}"

    @property
    def words(self) -> str:
        """Why, and until when."""
        return f"frozen {self.end}: {self.reason}"


def longest(freezes: tuple[Freeze, ...]) -> Freeze | None:
    """Several freezes at once as one: all their reasons, and the last of their ends."""
    if not freezes:
        return None
    reasons = "; ".join(dict.fromkeys(each.reason for each in freezes))
    ends = [each.until for each in freezes if each.until is not None]
    return Freeze(reason=reasons, until=max(ends) if len(ends) == len(freezes) else None)
