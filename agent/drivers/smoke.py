"""The smoke test of a release that the public does not reach yet: what its manifest asks for, no more."""

from collections.abc import Mapping

from agent.drivers.base import Host
from agent.drivers.commands import Command
from agent.drivers.launch import Place, environment
from agent.records import Slot
from agent.slots import ModuleDirectory
from domain.errors import SmokeFailed


async def smoke_test(
    slot: Slot, endpoints: Mapping[str, str], host: Host, directory: ModuleDirectory
) -> None:
    """Probe it, ask it, run its command.

    Args:
        slot: the release under test.
        endpoints: socket name → "host:port" that leads to it.
        host: the agent's.
        directory: the module's.

    Raises:
        SmokeFailed: one of the checks fails; the message says which and how.
    """
    manifest = slot.manifest
    if manifest.probe is not None:
        url = f"http://{endpoints[manifest.probe.socket]}{manifest.probe.path}"
        if not (await host.prober.health(url, manifest.probe.timeout)).ok:
            raise SmokeFailed(f"{slot.release} does not answer its health probe")
    if manifest.smoke is None:
        return
    for check in manifest.smoke.http:
        fault = await host.prober.fault(f"http://{endpoints[check.socket]}{check.path}", check)
        if fault is not None:
            raise SmokeFailed(f"{slot.release}: {check.path} {fault}")
    await _command(slot, endpoints, host, directory)


async def _command(slot: Slot, endpoints: Mapping[str, str], host: Host, directory: ModuleDirectory) -> None:
    smoke = slot.manifest.smoke
    if smoke is None or not smoke.command:
        return
    reached = {name: endpoint.rpartition(":") for name, endpoint in endpoints.items()}
    place = Place(
        node=host.config.node,
        address=next((found[0] for found in reached.values()), host.config.bind_address),
        release=directory.release(slot.name),
        data=directory.data,
        ports={name: int(found[2]) for name, found in reached.items()},
    )
    command = Command(
        words=tuple(place.fill(word) for word in smoke.command),
        directory=place.release,
        environment=environment(slot.manifest, place),
        log=directory.log(slot.name),
        timeout=smoke.timeout,
    )
    try:
        fault = await command.fault(host.pool)
    except OSError as error:
        raise SmokeFailed(f"the smoke test's command of {slot.release} cannot run: {error}") from error
    if fault is not None:
        raise SmokeFailed(f"the smoke test's command of {slot.release} {fault}")
