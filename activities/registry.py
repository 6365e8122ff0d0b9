"""The hands of one worker process, with what they hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from activities.freezes import DatabaseFreezes
from activities.guards import DatabaseGuards
from activities.hooks import CalledHooks
from activities.looks import AgentLooks
from activities.measurements import ProviderMeasurements
from activities.nodes import AgentNodes
from activities.planning import FleetPlanning
from activities.promotions import DatabasePromotions
from activities.records import DatabaseRecords
from activities.supervision import TemporalSupervision
from activities.tenant_orders import Tenancy
from activities.tenants import DatabaseTenancy
from activities.tokens import PublicKeyTokens
from clients.agent import AgentClient
from clients.hooks import HookCaller
from clients.providers.http import ProviderHttp
from domain.provider_settings import ProviderSettings
from runtime.tokens import TokenReader
from store.bundles import BundleDirectory
from store.database import Database

Activities = Sequence[Callable[..., Any]]


@dataclass(frozen=True)
class Holdings:
    """The connections that activities work with."""

    client: Client
    database: Database
    agents: AgentClient
    bundles: BundleDirectory
    tokens: TokenReader
    hooks: HookCaller
    provider_http: ProviderHttp
    providers: ProviderSettings


def control_activities(held: Holdings) -> Activities:
    """Short ones: records, tokens, supervision."""
    records = DatabaseRecords(held.database, held.client)
    promotions = DatabasePromotions(held.database)
    tokens = PublicKeyTokens(held.tokens)
    freezes = DatabaseFreezes(held.database)
    return (
        records.record,
        records.load_lane,
        records.save_poll,
        records.save_amendment,
        records.rollback_targets,
        records.successor_of,
        records.withdraw,
        promotions.promotion_terms,
        promotions.record_promotion,
        promotions.queue_stage,
        promotions.queue_rollback,
        promotions.standing,
        promotions.withdraw_stage,
        records.quarantine,
        DatabaseGuards(held.database).take_back,
        tokens.read_vote,
        tokens.read_delegation,
        tokens.read_command,
        tokens.read_thaw,
        freezes.freeze_now,
        freezes.thaw,
        freezes.may_start,
        TemporalSupervision(held.client).await_end,
        *tenant_activities(DatabaseTenancy(held.database, held.client)),
    )


def tenant_activities(tenancy: Tenancy) -> Activities:
    """Those that make tenants and take them away."""
    return (
        tenancy.make_tenant_part,
        tenancy.undo_tenant_part,
        tenancy.move_tenant,
        tenancy.quiet_tenant,
        tenancy.erase_tenant,
    )


def hook_activities(held: Holdings) -> Activities:
    """Those that call others, and may wait for them long."""
    return (CalledHooks(held.database, held.hooks).call_hook,)


def node_activities(held: Holdings) -> Activities:
    """Those that talk to nodes."""
    measurements = ProviderMeasurements(held.database, held.agents, held.provider_http, held.providers)
    hooks = CalledHooks(held.database, held.hooks)
    nodes = AgentNodes(held.database, held.agents, held.bundles, hooks)
    return (
        FleetPlanning(held.database, held.agents).prepare,
        nodes.stage,
        nodes.activate,
        nodes.verify,
        nodes.start,
        nodes.smoke,
        nodes.switch,
        nodes.settle,
        nodes.renew,
        nodes.revert,
        nodes.verify_reverted,
        AgentLooks(held.database, held.agents, held.provider_http).look,
        measurements.measure,
        measurements.keep,
    )
