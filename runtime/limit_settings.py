"""The settings of limits, of proxies and of browsers' access from other origins."""

import ipaddress
import re
from typing import Annotated, Final

from limits import parse
from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings


def _rate(value: str) -> str:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError("a rate is a number and a time, such as 5/minute or 100/10 seconds") from error
    return value


def _networks(values: list[str]) -> list[str]:
    for value in values:
        ipaddress.ip_network(value)  # raises ValueError; "*" is none
    return values


_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


def _origins(values: list[str]) -> list[str]:
    for value in values:
        if not _ORIGIN.fullmatch(value):
            raise ValueError(f"{value!r} is no origin such as https://console.example; a star is refused")
    return values


Rate = Annotated[str, AfterValidator(_rate)]


class LimitSettings(BaseSettings):
    """Counted in PostgreSQL, so that all replicas of the API count together."""

    limit_sign_in: Rate = Field(default="5/minute", description="Sign-ins (also wrong ones) per name.")
    limit_sign_in_address: Rate = Field(
        default="30/minute", description="Sign-ins and refreshes per client address."
    )
    limit_reads: Rate = Field(default="600/minute", description="GETs per person and route.")
    limit_writes: Rate = Field(default="120/minute", description="Other requests per person and route.")
    limit_tenant: Rate = Field(default="6000/minute", description="Requests per tenant, all routes together.")
    streams_of_person: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Streams of events that a person has open at once, per process of the API."
    )
    streams_of_tenant: Annotated[int, Field(ge=1)] = Field(
        default=200, description="The same of all people of a tenant together."
    )
    trusted_proxies: Annotated[list[str], AfterValidator(_networks)] = Field(
        default=[],
        description="Networks (JSON list) whose X-Forwarded-For and X-Forwarded-Proto are believed; none.",
    )
    cors_origins: Annotated[list[str], AfterValidator(_origins)] = Field(
        default=[], description="Origins (JSON list) whose pages may use the API from a browser; none."
    )
