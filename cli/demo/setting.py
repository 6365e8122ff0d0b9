"""What the demo needs before its first rollout: releases, people, a policy that fits into minutes."""

import secrets
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from bundles.archive import pack
from bundles.signature import sign
from cli.client import ApiClient
from cli.context import Target
from cli.errors import CommandFailed, Refused
from cli.follow import follow
from domain.deployment import Phase
from domain.gate_rule import GateRule
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.release import ReleaseRef
from domain.roles import Role
from domain.strategy import Canary, Direct
from runtime import files
from runtime.embedded.directory import StackDirectory

ENVIRONMENT = "production"
MODULE = "greeter"
DEPLOYER, APPROVER = "demo-deployer", "demo-approver"

CLEARING = 60.0  # seconds for the rollback of an earlier demo

# While the environment is set up: a first release for all nodes, and nobody to ask.
SETTING_UP = EnvironmentPolicy(strategy=Direct())
# Short enough for a demo of minutes: a pass ends the analysis. With two nodes in the first wave that takes
# half a minute, with one twice as long. In doubt it turns back: nobody may be there to ask.
POLICY = EnvironmentPolicy(
    strategy=Canary(shares=(20, 50, 100), bake=5),
    gates=(GateRule(name="promotion", before_wave=2),),
    analysis=AnalysisRule(
        duration=32, interval=4, warm_up=2, extensions=1, early_pass=True, on_inconclusive="rollback"
    ),
)
# Seconds of traffic before the first canary rollout: from twenty intervals of two seconds the judge knows how
# much nodes differ when nothing changes.
HISTORY = 45.0


def push_releases(
    client: ApiClient, stack: StackDirectory, sources: dict[str, Path]
) -> dict[str, ReleaseRef]:
    """Pack, sign and push each version's tree; the same bytes again are fine.

    Args:
        client: a deployer.
        stack: holds the development signing key.
        sources: the tree of each version.
    """
    folder = files.private_directory(stack.root / "demo")
    certificate = (stack.signing / "signer.pem").read_bytes()
    key = (stack.signing / "signer.key").read_bytes()
    pushed = {}
    for version, source in sources.items():
        bundle = folder / f"{MODULE}-{version}.tar.gz"
        pushed[version] = pack(source, bundle)
        parts = {
            "bundle": (bundle.name, bundle.read_bytes()),
            "signature": (f"{bundle.name}.p7s", sign(bundle, certificate, key)),
        }
        client.upload("/modules", parts)
    return pushed


def user(admin: ApiClient, stack: StackDirectory, name: str, role: Role) -> Target:
    """A user of the demo, made at the first run with a generated password that stays under .hotswap."""
    path = stack.root / f"{name}.password"
    files.write_once(path, secrets.token_urlsafe(24).encode())
    password = path.read_text(encoding="utf-8")
    try:
        admin.post(
            "/users", {"username": name, "password": password, "role": role.value, "must_change": False}
        )
    except Refused as refusal:
        if refusal.status != HTTPStatus.CONFLICT:
            raise
    return Target(
        url=admin.target.url,
        source="demo",
        username=name,
        password_file=path,
        temporal_ui_url=admin.target.temporal_ui_url,
        temporal_address=admin.target.temporal_address,
    )


def clear_lane(admin: ApiClient) -> None:
    """End what an earlier demo that was interrupted has left under way.

    Raises:
        CommandFailed: something is still under way after CLEARING.
    """
    unfinished = [
        each
        for each in admin.items("/deployments", environment=ENVIRONMENT)
        if not Phase(each["phase"]).terminal
    ]
    for each in unfinished:  # newest first: those that wait go before the one that runs
        with suppress(Refused):  # on its way back already
            admin.post(f"/deployments/{each['id']}/abort", {"reason": "a new demo begins"})
    for each in unfinished:
        *_, last = follow(admin, each["id"], seconds=CLEARING, tick=1.0)
        if not last.ended:
            raise CommandFailed(f"deployment {each['id']} does not end: {last.deployment['message']}")


def set_policy(admin: ApiClient, policy: EnvironmentPolicy) -> None:
    """Give the environment this policy."""
    admin.put(f"/clusters/{ENVIRONMENT}/policy", policy.model_dump(mode="json"))
