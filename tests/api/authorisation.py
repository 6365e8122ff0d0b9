"""The matrix of routes and roles: made from the application, kept in authorisation.yaml, reviewed as a diff.

`make authorisation` writes it anew. A change of who may do what is therefore a change of a file that people
read; the tests compare the file with the application, and the application's answers with the file.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from fastapi.routing import APIRoute

from api.access import NodeItself, OpenToAll
from api.application import OUTSIDE, ROOMS
from api.links import PREFIX
from api.policies import policy_of
from domain.permissions import Permission, may
from domain.roles import Role

FILE = Path(__file__).with_name("authorisation.yaml")
ANONYMOUS, NODE = "anonymous", "node"
YES = "allowed"
_HEAD = "# Who may use which route: made by `make authorisation`. A change here is a change of rights.\n"

Matrix = dict[str, dict[str, str | int]]


def matrix() -> Matrix:
    """What the application declares, route by route: the policy, and the answer to each who asks."""
    return dict(sorted((name, _row(policy)) for name, policy in _declared()))


def _declared() -> Iterator[tuple[str, str]]:
    for prefix, router in ((PREFIX, room.router) for room in ROOMS):
        yield from _of_router(prefix, router)
    for room in OUTSIDE:
        yield from _of_router("", room.router)


def _of_router(prefix: str, router: object) -> Iterator[tuple[str, str]]:
    for route in getattr(router, "routes", ()):
        if isinstance(route, APIRoute):
            for method in sorted(route.methods or ()):
                yield f"{method} {prefix}{route.path}", policy_of(route)


def _row(policy: str) -> dict[str, str | int]:
    if policy == OpenToAll.policy:
        return {"policy": policy, ANONYMOUS: YES, **{str(role): YES for role in Role}, NODE: YES}
    if policy == NodeItself.policy:
        return {"policy": policy, ANONYMOUS: 401, **{str(role): 401 for role in Role}, NODE: YES}
    roles = {str(role): YES if may(role, Permission(policy)) else 403 for role in Role}
    return {"policy": policy, ANONYMOUS: 401, **roles, NODE: 401}


def kept() -> Matrix:
    """What the file says."""
    content: Matrix = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def main() -> int:
    """Write the file anew."""
    rows = [
        f"{name}: {{{', '.join(f'{who}: {answer}' for who, answer in row.items())}}}\n"
        for name, row in matrix().items()
    ]
    FILE.write_text(_HEAD + "".join(rows), encoding="utf-8")
    sys.stdout.write(f"{FILE.name}: {len(rows)} routes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
