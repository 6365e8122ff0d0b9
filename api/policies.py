"""The policy that each route declares, found in what it depends on and shown in the OpenAPI document."""

from collections.abc import Iterable, Iterator
from typing import Final

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.access import NodeItself, OpenToAll, Requires

EXTENSION: Final = "x-policy"


class NoPolicy(Exception):
    """A route declares no policy, or two that differ: a mistake of ours, which stops the start."""


def declare(routers: Iterable[APIRouter]) -> None:
    """Write each route's policy into its part of the OpenAPI document.

    Raises:
        NoPolicy: a route does not declare exactly one.
    """
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                route.openapi_extra = {**(route.openapi_extra or {}), EXTENSION: policy_of(route)}


def policy_of(route: APIRoute) -> str:
    """The one policy of a route.

    Raises:
        NoPolicy: it does not declare exactly one.
    """
    found = sorted({each.policy for each in _policies(route.dependant)})
    if len(found) != 1:
        methods = ", ".join(sorted(route.methods or ()))
        raise NoPolicy(f"{methods} {route.path} declares {found or 'no policy'}: exactly one is needed")
    return found[0]


def _policies(dependant: Dependant) -> Iterator[Requires | NodeItself | OpenToAll]:
    for each in dependant.dependencies:
        if isinstance(each.call, Requires | NodeItself | OpenToAll):
            yield each.call
        yield from _policies(each)
