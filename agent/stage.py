"""Stage: from a received bundle to an unpacked slot. What the control plane checked is checked again."""

import base64
import binascii
import shutil
from datetime import UTC, datetime
from pathlib import Path

from agent.bundle_store import digest_of
from agent.config import AgentConfig
from agent.drivers.launch import Place, environment
from agent.records import ModuleRecord, Slot
from agent.slots import ModuleDirectory, remove_tree
from bundles.archive import Limits, inspect, unpack
from bundles.signature import TrustStore, verify
from bundles.tree import tree_hash
from domain.errors import BundleInvalid, Conflict, DiskFull, SignatureRefused
from domain.manifest import Manifest
from domain.release import ReleaseRef


def stage(
    bundle: Path, release: ReleaseRef, signature: str, directory: ModuleDirectory, config: AgentConfig
) -> Slot:
    """Check a bundle and unpack it into its slot, durably. Blocking.

    Args:
        bundle: the received file.
        release: what it has to be.
        signature: detached CMS over its bytes: DER, base64.
        directory: the module's.
        config: the agent's, with its trust roots.

    Raises:
        SignatureRefused: not signed by a signer that this node trusts.
        BundleInvalid: other bytes, another release, or a manifest that this node cannot run.
        DiskFull: not enough space.
        Conflict: the slot is there with changed files.
    """
    if digest_of(bundle) != release.digest:
        bundle.unlink()
        raise BundleInvalid("the bundle's bytes have changed on the node's disk", field="digest")
    _verify_signature(bundle, signature, config.trust)
    limits = Limits(max_bundle_bytes=config.max_bundle_bytes)
    manifest, found = inspect(bundle, limits)
    _check(manifest, found, release, config)
    _check_space(directory.root, manifest)
    slot = Slot(release=release, manifest=manifest)
    destination = directory.release(slot.name)
    if destination.exists():
        remove_tree(destination)  # what a crash left behind, or was changed since
    unpack(bundle, destination, limits)
    return slot


def intact(slot: Slot, directory: ModuleDirectory) -> bool:
    """Whether the slot's tree on disk is still the released one. Blocking."""
    return tree_on_disk(slot.name, directory) == slot.release.tree


def tree_on_disk(slot: str, directory: ModuleDirectory) -> str | None:
    """The hash of a slot's tree as it is now; None when it is not there or cannot be read. Blocking."""
    try:
        return tree_hash(directory.release(slot))
    except (OSError, BundleInvalid):
        return None


def same_kind(record: ModuleRecord, slot: Slot) -> None:
    """A module keeps its kind while any release of it is on the node.

    Raises:
        Conflict: another kind is here.
    """
    other = next(
        (each for each in record.slots.values() if each.manifest.kind is not slot.manifest.kind), None
    )
    if other is not None:
        raise Conflict(
            f"{other.release} is of kind {other.manifest.kind} here; remove it before {slot.release},"
            f" of kind {slot.manifest.kind}",
            field="kind",
        )


def _verify_signature(bundle: Path, signature: str, trust: Path) -> None:
    try:
        der = base64.b64decode(signature, validate=True)
    except binascii.Error as error:
        raise SignatureRefused("the signature is not base64", field="signature") from error
    verify(bundle, der, TrustStore.load(trust), at=datetime.now(UTC))


def _check(manifest: Manifest, found: ReleaseRef, release: ReleaseRef, config: AgentConfig) -> None:
    if found != release:
        raise BundleInvalid(
            f"the bundle holds {found}, with another content than ordered: {release}", field="release"
        )
    process = manifest.process
    if process is not None:
        ports = {socket.name: 0 for socket in process.sockets}
        place = Place(node=config.node, address="", release=Path(), data=Path(), ports=ports)
        environment(manifest, place)
        for word in process.command:
            place.fill(word)


def _check_space(directory: Path, manifest: Manifest) -> None:
    free = shutil.disk_usage(directory).free
    needed = manifest.resources.disk_mb * 1024 * 1024
    if free < needed:
        raise DiskFull(f"{free >> 20} MB are free, {manifest.name} needs {manifest.resources.disk_mb} MB")
