"""What the routes work with: opened once per process, closed at its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from fastapi import Depends
from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.bell import Bell
from api.passwords import Passwords
from api.turns import Turns
from bundles.trust import TrustStore
from clients.agent import AgentClient
from domain.errors import InvalidInput, Unauthenticated
from runtime import temporal
from runtime.oidc import OidcReader
from runtime.settings import ApiSettings
from runtime.tokens import TokenMinter, TokenReader
from store.bundles import BundleDirectory
from store.database import Database
from store.limits import LimitCounters


@dataclass(frozen=True)
class Services:
    """The API's hands."""

    settings: ApiSettings
    database: Database
    temporal: Client
    bell: Bell
    turns: Turns
    agents: AgentClient
    bundles: BundleDirectory
    passwords: Passwords
    minter: TokenMinter
    reader: TokenReader
    counters: LimitCounters
    issuer: OidcReader | None = None


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request came to."""
    services: Services = connection.app.state.services
    return services


async def _hands(connection: HTTPConnection) -> Services:
    return services_of(connection)  # FastAPI gives a function that is not async a thread


Hands = Annotated[Services, Depends(_hands)]


@asynccontextmanager
async def open_services(settings: ApiSettings) -> AsyncIterator[Services]:
    """Open everything that the settings name.

    Raises:
        InvalidInput: keys or trust roots are unusable; `field` names the setting.
        RuntimeError: Temporal does not answer.
    """
    minter, reader = token_keys(settings)
    rules = settings.oidc_rules()
    TrustStore.load(settings.trust_directory)
    agents = AgentClient(
        ca=settings.tls_ca,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        networks=settings.where_agents_may_be(),
    )
    client = await temporal.connect(settings, identity="hotswap-api")
    database = Database(
        settings.database_url, pool_size=settings.database_pool, pool_wait=settings.database_pool_wait
    )
    counters = LimitCounters(settings.database_url)
    bell = Bell(client)
    try:
        await database.require_bound_role()
        async with agents:
            yield Services(
                settings=settings,
                database=database,
                temporal=client,
                bell=bell,
                turns=Turns(settings.database_pool_wait),
                agents=agents,
                bundles=BundleDirectory(settings.bundle_directory),
                passwords=Passwords(),
                minter=minter,
                reader=reader,
                counters=counters,
                issuer=OidcReader(rules) if rules else None,
            )
    finally:
        await bell.rest()
        await counters.dispose()
        await database.dispose()


def token_keys(settings: ApiSettings) -> tuple[TokenMinter, TokenReader]:
    """The two halves of the token key.

    Raises:
        InvalidInput: a half is unusable, or they do not belong together.
    """
    minter = TokenMinter.load(settings.jwt_private_key_file)
    reader = TokenReader.load(settings.jwt_public_key_file)
    try:
        reader.node(minter.node(tenant="default", node="self-test").token)
    except Unauthenticated as error:
        raise InvalidInput(
            "the private and the public token key are not a pair", field="jwt_public_key_file"
        ) from error
    return minter, reader


def certificate_expiries(settings: ApiSettings) -> dict[str, float]:
    """When the certificates end that this process was started with, by setting, seconds since the epoch.

    Of several in a file, and of the roots of bundles' signers, the first to end counts.
    """
    found = {
        name: x509.load_pem_x509_certificates(getattr(settings, name).read_bytes())
        for name in ("tls_ca", "tls_certificate")
    }
    found["trust_directory"] = list(TrustStore.load(settings.trust_directory).roots)
    return {
        name: min(each.not_valid_after_utc.timestamp() for each in certificates)
        for name, certificates in found.items()
    }
