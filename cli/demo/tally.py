"""What the traffic saw, read back from its output."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from cli.demo.traffic import UNKNOWN, Failure, Slice
from domain.base import Frozen

_LINE: TypeAdapter[Slice | Failure] = TypeAdapter(Annotated[Slice | Failure, Field(discriminator="kind")])


class Tally(Frozen):
    """All slices and failures so far."""

    slices: tuple[Slice, ...] = ()
    failures: tuple[Failure, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Tally":
        """The tally in a file that may still be written to: an unfinished last line is left out."""
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
        return cls.of(_LINE.validate_json(line) for line in whole.splitlines())

    @classmethod
    def of(cls, lines: Iterable[Slice | Failure]) -> "Tally":
        """The tally of these lines."""
        kept = tuple(lines)
        return cls(
            slices=tuple(line for line in kept if isinstance(line, Slice)),
            failures=tuple(line for line in kept if isinstance(line, Failure)),
        )

    @property
    def requests(self) -> int:
        """All requests that ended, well or not."""
        return sum(count.requests for part in self.slices for count in part.counts)

    def requests_within(self, since: float, until: float) -> int:
        """Requests that ended in a time span; slices that only touch it do not count."""
        return sum(
            count.requests
            for before, part in self._spans()
            if since <= before and part.at <= until
            for count in part.counts
        )

    def failures_within(self, since: float, until: float) -> tuple[Failure, ...]:
        """Failed requests that were under way at any time of a span."""
        return tuple(each for each in self.failures if each.began <= until and each.ended >= since)

    def nodes_serving(self, version: str) -> list[str]:
        """Nodes that have answered from this release, by name."""
        return sorted({c.node for part in self.slices for c in part.counts if c.version == version})

    @property
    def answering(self) -> list[str]:
        """Nodes that have answered so that a release is known, by name."""
        return sorted({c.node for part in self.slices for c in part.counts if c.version != UNKNOWN})

    def _spans(self) -> Iterator[tuple[float, Slice]]:
        """Each slice with the time at which it began."""
        before = float("-inf")
        for part in self.slices:
            yield before, part
            before = part.at
