"""What a release needs of other modules, and what they need of it: checked before anything moves.

Ranges are written as npm writes them (`^1.2`, `~1.2.3`, `>=1 <3`, `1.x || 2.x`). A version with a pre-release
tag fits only a range that names the same version with a tag, as in semver.org's order of precedence.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from semantic_version import NpmSpec, Version

from domain.base import Frozen
from domain.errors import PlanImpossible
from domain.names import ModuleName, NodeName

Needs = Mapping[ModuleName, str]
Known = Mapping[tuple[ModuleName, str], Needs]  # (module, version) → what that release needs

NAMED_NODES: Final = 20


class Candidate(Frozen):
    """A release that is to come, and what it needs."""

    module: ModuleName
    version: str
    needs: dict[ModuleName, str]

    def __str__(self) -> str:
        """As people name it."""
        return f"{self.module}@{self.version}"


def fits(version: str, wanted: str) -> bool:
    """Whether a version lies in a range.

    Raises:
        ValueError: the range is not one.
    """
    return bool(NpmSpec(wanted).match(Version(version)))


def check_ranges(needs: Needs) -> None:
    """See that every range can be read.

    Raises:
        ValueError: one cannot; the message names module and range.
    """
    for module, wanted in needs.items():
        try:
            NpmSpec(wanted)
        except ValueError as error:
            raise ValueError(f"{module}: {wanted!r} is not a version range such as ^1.2") from error


def check(
    candidate: Candidate,
    installed: Mapping[NodeName, Mapping[ModuleName, str]],
    known: Known,
    coming: Iterable[tuple[ModuleName, str]] = (),
) -> None:
    """Refuse a release whose dependencies are not there, go in a circle, or that breaks what others need.

    Args:
        candidate: the release that is to come.
        installed: per node, the version of each module that it runs; only nodes of which that is known.
        known: what the installed releases need.
        coming: modules with versions that earlier deployments bring before this one.

    Raises:
        PlanImpossible: `field` is dependencies.MODULE, or version where another module would break.
    """
    _refuse_cycle(candidate, installed, known)
    ahead = list(coming)
    for module, wanted in candidate.needs.items():
        if any(other == module and fits(version, wanted) for other, version in ahead):
            continue
        lacking = [
            f"{node} has {modules.get(module, 'none')}"
            for node, modules in installed.items()
            if module not in modules or not fits(modules[module], wanted)
        ]
        if lacking:
            raise PlanImpossible(
                f"{candidate} needs {module} {wanted}: {_listed(lacking)}", field=f"dependencies.{module}"
            )
    broken = sorted(dict.fromkeys(_broken(candidate, installed, known)))
    if broken:
        raise PlanImpossible(f"{candidate} is not what others need: {_listed(broken)}", field="version")


def _broken(
    candidate: Candidate, installed: Mapping[NodeName, Mapping[ModuleName, str]], known: Known
) -> Iterator[str]:
    for node, modules in installed.items():
        for module, version in modules.items():
            wanted = known.get((module, version), {}).get(candidate.module)
            if module != candidate.module and wanted is not None and not fits(candidate.version, wanted):
                yield f"{module}@{version} on {node} needs {candidate.module} {wanted}"


def _refuse_cycle(
    candidate: Candidate, installed: Mapping[NodeName, Mapping[ModuleName, str]], known: Known
) -> None:
    """Follow what is needed through the releases that run; coming back to the candidate is a cycle."""
    edges: dict[ModuleName, list[ModuleName]] = {candidate.module: list(candidate.needs)}
    for module, version in dict.fromkeys(pair for modules in installed.values() for pair in modules.items()):
        if module != candidate.module:
            edges.setdefault(module, []).extend(known.get((module, version), {}))
    trail = _way_back(candidate.module, edges)
    if trail is not None:
        raise PlanImpossible(f"a cycle: {' needs '.join(trail)}", field=f"dependencies.{trail[1]}")


def _way_back(start: ModuleName, edges: Mapping[ModuleName, list[ModuleName]]) -> list[ModuleName] | None:
    """The shortest way from a module back to itself."""
    trails = [[start]]
    seen: list[ModuleName] = []
    for trail in trails:
        for following in edges.get(trail[-1], []):
            if following == start:
                return [*trail, start]
            if following not in seen:
                seen.append(following)
                trails.append([*trail, following])
    return None


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - NAMED_NODES} more" if len(words) > NAMED_NODES else ""
    return ", ".join(words[:NAMED_NODES]) + more
