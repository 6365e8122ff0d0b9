"""What the demo needs before its first rollout: releases, people, a policy that fits into minutes."""

import secrets
from pathlib import Path

from bundles.archive import pack
from bundles.signature import sign
from cli.client import ApiClient
from cli.context import Target
from domain.policy import AnalysisRule, EnvironmentPolicy, GateRule
from domain.release import ReleaseRef
from domain.roles import Role
from domain.strategy import Canary
from runtime import files
from runtime.embedded.directory import StackDirectory

ENVIRONMENT = "production"
MODULE = "greeter"
DEPLOYER, APPROVER = "demo-deployer", "demo-approver"

# Short enough for a demo of minutes. In doubt it turns back: nobody may be there to ask.
POLICY = EnvironmentPolicy(
    strategy=Canary(shares=(10, 30, 50, 100), bake=5),
    gates=(GateRule(name="promotion", before_wave=2),),
    analysis=AnalysisRule(duration=12, interval=2, warm_up=2, on_inconclusive="rollback"),
)


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
    if files.write_once(path, secrets.token_urlsafe(24).encode()):
        password = path.read_text(encoding="utf-8")
        admin.post("/users", {"username": name, "password": password, "role": role.value})
    return Target(
        url=admin.target.url,
        source="demo",
        username=name,
        password_file=path,
        temporal_ui_url=admin.target.temporal_ui_url,
        temporal_address=admin.target.temporal_address,
    )


def set_policy(admin: ApiClient) -> None:
    """Give the environment the demo's policy."""
    admin.put(f"/clusters/{ENVIRONMENT}/policy", POLICY.model_dump(mode="json"))
