"""Does a node run what it was told to? Judged from what the node reads back, never from what was ordered."""

from domain.release import Kind, ReleaseRef
from domain.wire import ModuleReport, ModuleState


def mismatch(report: ModuleReport, expected: ReleaseRef | None, *, beside: bool = False) -> str | None:
    """What differs between a read-back and the expected release, in words; None when all fits.

    Args:
        report: read from the node after the change.
        expected: the release that should run there; None when the module should not be installed.
        beside: whether another release may run beside it.
    """
    found = _main_mismatch(report, expected)
    if found is None and report.beside is not None and not beside:
        return f"{report.beside.release} still runs beside {expected or 'nothing'}"
    return found


def _main_mismatch(report: ModuleReport, expected: ReleaseRef | None) -> str | None:
    if expected is None:
        return None if report.state is ModuleState.ABSENT else f"still has {report.current}, expected none"
    if report.current != expected:
        return f"has {report.current or 'no release'}, expected {expected}"
    if report.tree != expected.tree:
        return "the files on disk are not those of the release"
    if report.kind is Kind.PROCESS:
        return _process_mismatch(report, expected)
    return "; ".join(report.problems) or None


def _process_mismatch(report: ModuleReport, expected: ReleaseRef) -> str | None:
    if report.process is None or report.state is not ModuleState.RUNNING:
        return f"{expected} is installed but {report.state}"
    if report.process.release_tree != expected.tree:
        return (
            f"process {report.process.pid} runs from {report.process.release_directory}, not from {expected}"
        )
    if report.healthy is False:
        return f"{expected} runs but its health probe fails"
    return "; ".join(report.problems) or None
