"""Search attributes: the columns of the console's list view. Names and types are in domain.names."""

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from domain.messages import DeploymentInput

TENANT = SearchAttributeKey.for_keyword("Tenant")
ENVIRONMENT = SearchAttributeKey.for_keyword("Environment")
MODULE = SearchAttributeKey.for_keyword("Module")
FROM_VERSION = SearchAttributeKey.for_keyword("FromVersion")
TO_VERSION = SearchAttributeKey.for_keyword("ToVersion")
PHASE = SearchAttributeKey.for_keyword("Phase")
WAVE = SearchAttributeKey.for_int("Wave")
WAITING_FOR = SearchAttributeKey.for_keyword("WaitingFor")
VERDICT = SearchAttributeKey.for_keyword("Verdict")


def at_start(*, tenant: str, environment: str, module: str = "", version: str = "") -> TypedSearchAttributes:
    """What is known of a workflow when it is started."""
    pairs = [SearchAttributePair(TENANT, tenant), SearchAttributePair(ENVIRONMENT, environment)]
    if module:
        pairs += [SearchAttributePair(MODULE, module), SearchAttributePair(TO_VERSION, version)]
    return TypedSearchAttributes(pairs)


def of_deployment(request: DeploymentInput) -> TypedSearchAttributes:
    """What is known of every workflow of a deployment when it is started."""
    return at_start(
        tenant=request.tenant,
        environment=request.environment,
        module=request.module,
        version=request.version,
    )


def show_position(*, phase: str, wave: int | None, waiting_for: str) -> None:
    """Bring phase, wave and what is waited for into the list view."""
    workflow.upsert_search_attributes(
        [
            PHASE.value_set(phase),
            WAVE.value_set(wave) if wave is not None else WAVE.value_unset(),
            WAITING_FOR.value_set(waiting_for[:200]) if waiting_for else WAITING_FOR.value_unset(),
        ]
    )
