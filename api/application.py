"""The application: routes, problem documents, middleware."""

from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware

from api import policies, problems
from api.audit import Recorder
from api.headers import DOCS, outermost
from api.identity import Standings
from api.limits import Limits
from api.links import PREFIX
from api.metrics import Metrics
from api.middleware import BodyLimit, Tracing
from api.openapi import describe
from api.problems import Problem
from api.routes import (
    amendments,
    analyses,
    approvals,
    audit,
    auth,
    clusters,
    commands,
    delegations,
    deployments,
    discovery,
    events,
    feed,
    freezes,
    groups,
    health,
    history,
    keys,
    modules,
    nodes,
    people,
    promotions,
    requests,
    rollbacks,
    tenants,
    vote_links,
)
from api.routes.health import Lately
from api.services import Services, certificate_expiries
from api.streams import Streams
from runtime.settings import Profile

MAX_BODY_BYTES = 1 << 20  # of anything but a bundle
# What the API offers; each route in these declares who may use it.
ROOMS: Final = (
    auth,
    people,
    groups,
    keys,
    deployments,
    commands,
    amendments,
    rollbacks,
    promotions,
    analyses,
    history,
    events,
    feed,
    approvals,
    requests,
    delegations,
    vote_links,
    modules,
    clusters,
    freezes,
    nodes,
    audit,
    tenants,
)
OUTSIDE: Final = (health, discovery)
_ERRORS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Problem, "description": "A problem document (RFC 9457)."},
    "5XX": {"model": Problem, "description": "A problem document (RFC 9457)."},
}


def create_app(services: Services) -> FastAPI:
    """The application over open services."""
    app = FastAPI(
        title="Hotswap",
        description="Rolls signed modules out to fleets of nodes, durably.",
        version=version("hotswap"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=DOCS if services.settings.profile is Profile.DEVELOPMENT else None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.metrics = Metrics(certificate_expiries(services.settings))
    app.state.standings = Standings()
    app.state.lately = Lately()
    app.state.limits = Limits(services.counters, services.settings)
    app.state.streams = Streams(services.settings.streams_of_person, services.settings.streams_of_tenant)
    problems.install(app)
    policies.declare(room.router for room in (*ROOMS, *OUTSIDE))
    for room in ROOMS:
        app.include_router(room.router, prefix=PREFIX, responses=_ERRORS)
    for room in OUTSIDE:
        app.include_router(room.router, responses=_ERRORS)
    describe(app)
    bundles, bundle_bytes = PREFIX + modules.PATH, services.settings.max_bundle_bytes + modules.FORM_OVERHEAD

    def limit_of(path: str) -> int:
        return bundle_bytes if path == bundles else MAX_BODY_BYTES

    app.add_middleware(Recorder)
    # Inside of all that adds headers: an answer to an error of ours carries them like any other.
    app.add_middleware(ServerErrorMiddleware, handler=problems.unexpected)
    app.add_middleware(BodyLimit, limit_of=limit_of)
    app.add_middleware(Tracing, metrics=app.state.metrics)
    outermost(app, services.settings)
    return app
