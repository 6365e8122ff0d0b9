"""Kind files: the pointer, the reload command, and the way back when that fails."""

import sys

import pytest

from domain.errors import ModuleNotReady
from domain.readback import mismatch
from domain.wire import Action
from tests.agent.nodes import Node, Releases

NOTE = "import os, pathlib; pathlib.Path(os.environ['HOTSWAP_DATA'], 'seen').open('a').write({text})"


def noting(text: str) -> list[str]:
    """A reload command that writes down what it sees."""
    return [sys.executable, "-c", NOTE.format(text=text)]


async def test_reload_runs_after_the_switch_in_the_new_tree(node: Node, releases: Releases) -> None:
    text = "open('index.txt').read() + pathlib.Path('../../current').resolve().name + ';'"
    one = releases.files("1.0.0", reload=noting(text))
    two = releases.files("2.0.0", reload=noting(text))
    await node.install(one)
    report = (await node.install(two)).report
    assert mismatch(report, two.ref) is None
    seen = (node.module_directory("site") / "data" / "seen").read_text()
    assert seen == f"1.0.0 {node.slot(one).name};2.0.0 {node.slot(two).name};"


async def test_a_failing_reload_goes_back_and_reloads_the_old_one(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0", reload=noting("'one;'"))
    bad = releases.files("2.0.0", reload=[sys.executable, "-c", "import sys; sys.exit('cannot read this')"])
    await node.install(one)
    await node.stage(bad)
    with pytest.raises(ModuleNotReady, match=r"exited with status 1(.|\n)*cannot read this"):
        await node.order(Action.ACTIVATE, bad)
    assert mismatch(await node.module("site"), one.ref) is None
    assert (node.module_directory("site") / "data" / "seen").read_text() == "one;one;"


async def test_a_reload_that_never_ends_is_killed(node: Node, releases: Releases) -> None:
    bad = releases.files("1.0.0", reload=["sleep", "1000"], reload_timeout=0.2)
    await node.stage(bad)
    with pytest.raises(ModuleNotReady, match="did not end in time"):
        await node.order(Action.ACTIVATE, bad)
    report = await node.module("site")
    assert mismatch(report, None) is None
    assert report.staged == bad.ref


async def test_a_reload_command_that_is_not_there(node: Node, releases: Releases) -> None:
    bad = releases.files("1.0.0", reload=["./no-such-program"])
    await node.stage(bad)
    with pytest.raises(ModuleNotReady, match="cannot run"):
        await node.order(Action.ACTIVATE, bad)
