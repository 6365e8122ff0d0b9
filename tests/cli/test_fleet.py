"""Nodes as people make them known, and what is said where no stack is."""

import stat

import pytest

from cli.errors import CommandFailed
from runtime.embedded.part import StartFailed
from tests.cli.test_commands import ok, run, sent

WORDS = ("add-node", "web-07", "--env", "qa", "--address", "https://web-07.example.com:7701")
NODE = {"name": "web-07", "environment": "qa", "address": "https://web-07.example.com:7701"}


def test_a_node_is_made_known_and_its_token_printed_once(server):
    server.routes = {"POST /api/v1/nodes": ok({"token": "of-the-node"})}
    shown = run(server, *WORDS, "--label", "zone=a", "--label", "role=web")
    assert sent(server, "POST", "/nodes") == {**NODE, "labels": {"zone": "a", "role": "web"}}
    assert shown.output.splitlines()[-1] == "of-the-node"


def test_the_token_may_go_to_a_file_that_only_its_owner_reads(server, tmp_path):
    server.routes = {"POST /api/v1/nodes": ok({"token": "of-the-node"})}
    file = tmp_path / "token"
    assert "of-the-node" not in run(server, *WORDS, "--token-file", str(file)).output
    assert sent(server, "POST", "/nodes") == {**NODE, "labels": {}}
    assert file.read_text() == "of-the-node"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_label_without_a_value_is_not_sent(server):
    with pytest.raises(CommandFailed, match="zone=a"):
        run(server, *WORDS, "--label", "edge")
    assert server.requests == []


@pytest.mark.parametrize("command", ["status", "down"])
def test_where_there_is_no_stack_it_says_so(server, command):
    with pytest.raises(StartFailed, match=r"there is no stack in \.hotswap"):
        run(server, command)
