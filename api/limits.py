"""How often one may ask: per name and address at sign-in, per person and route, per tenant.

Counted in the database (api.leases), so that it holds whatever the number of replicas. A person's polling of
one route takes nothing from another route.
"""

import math
from typing import Annotated, Final

from fastapi import Depends, Request
from limits import RateLimitItem, RateLimitItemPerMinute, parse

from api.leases import Leases
from domain.limits import TooManyRequests
from runtime.settings import ApiSettings
from store.limits import LimitCounters

_READS: Final = ("GET", "HEAD", "OPTIONS")


class Limits:
    """The limits of one application; the counters are everybody's."""

    def __init__(self, counters: LimitCounters, settings: ApiSettings) -> None:
        self._leases = Leases(counters)
        self._name = parse(settings.limit_sign_in)
        self._address = parse(settings.limit_sign_in_address)
        self._reads = parse(settings.limit_reads)
        self._writes = parse(settings.limit_writes)
        self._tenant = parse(settings.limit_tenant)

    async def asked(
        self, tenant: str, who: str, request: Request, *, requests_per_minute: int | None = None
    ) -> None:
        """Somebody who is known asks for something; the tenant's own figure replaces the setting's.

        Raises:
            TooManyRequests: he, or his tenant, has asked too often.
        """
        rate = self._reads if request.method in _READS else self._writes
        route = getattr(request.scope.get("route"), "path", "none")
        await self._hit(rate, "route", tenant, who, request.method, route)
        of_tenant = RateLimitItemPerMinute(requests_per_minute) if requests_per_minute else self._tenant
        await self._hit(of_tenant, "tenant", tenant)

    async def signs_in(self, tenant: str, username: str) -> None:
        """Somebody says that this is his name.

        Raises:
            TooManyRequests: too many have.
        """
        await self._hit(self._name, "name", tenant, username)

    async def knocks(self, address: str) -> None:
        """Somebody who is not known asks for a token.

        Raises:
            TooManyRequests: from this address, too many have.
        """
        await self._hit(self._address, "address", address)

    async def _hit(self, rate: RateLimitItem, *what: str) -> None:
        left = await self._leases.hit(rate, *what)
        if not left:
            return
        wait = max(1, math.ceil(left))
        raise TooManyRequests(
            f"at most {rate.amount} in {rate.get_expiry()} s ({what[0]}); try again in {wait} s",
            retry_after=wait,
        )


async def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.limits
    return limits


Limited = Annotated[Limits, Depends(_limits)]  # of the application that a request came to


async def _knock(request: Request, limits: Limited) -> None:
    await limits.knocks(request.client.host if request.client else "unknown")


# For routes that are open to all and cost something.
KNOCKING: Final = Depends(_knock)
