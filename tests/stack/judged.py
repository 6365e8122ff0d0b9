"""Analyses of a rollout that really happened: listed, read, and judged again by the command line."""

import json
from contextlib import chdir

from typer.testing import CliRunner

from cli.main import app
from tests.stack.running import RunningStack


def assert_judged_again(stack: RunningStack, deployment: str, outcome: str) -> tuple[str, ...]:
    """Every analysis that kept its inputs is recomputed bit for bit; the last one said this. All ids."""
    found = list(stack.deployer.items("/analyses", deployment=deployment))
    assert found
    assert found[0]["verdict"]["outcome"] == outcome
    for each in found:
        read = stack.deployer.get(f"/analyses/{each['id']}")
        assert (read["deployment"], read["verdict"]) == (deployment, each["verdict"])
        assert [look["number"] for look in read["looks"]] == list(range(1, each["looks"] + 1))
        if any(look["judged"] for look in read["looks"]):
            said = run(stack, "judge", "--replay", each["id"], "--json")
            assert said["same"], each["id"]
            assert said["recomputed"] == said["stored"]
    shown = run(stack, "analysis", "list", "--deployment", deployment, "--json")
    assert [each["id"] for each in shown] == [each["id"] for each in found]
    return tuple(str(each["id"]) for each in found)


def run(stack: RunningStack, *words: str):
    """What the command line answers beside the stack, as JSON."""
    cache = {"XDG_CACHE_HOME": str(stack.directory.root / "cli-cache"), "XDG_CONFIG_HOME": str(stack.work)}
    with chdir(stack.directory.root.parent):
        result = CliRunner(env=cache).invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
