"""What README and docs say of the command line is so."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
REFERENCE = ROOT / "docs" / "reference" / "cli.md"
GENERATE = ["-m", "typer", "cli.main", "utils", "docs", "--name", "hotswap", "--title", "Command line"]
# `hotswap …` as code, within a line or in a block; a comment ends it.
COMMAND = re.compile(r"(?:^|`)(?:\S*/bin/)?hotswap ([^`#\n|]+)", re.MULTILINE)


def commands():
    """Every command line in the pages: page, words."""
    for page in PAGES:
        if page != REFERENCE and "adr" not in page.parts:
            for words in COMMAND.findall(page.read_text()):
                yield page.name, words.strip().replace("…", "")


def resolve(words):
    """The command that a command line names, and what is left of it."""
    command = get_command(app)
    rest = shlex.split(words)
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, f"no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize(("page", "words"), sorted(set(commands())))
@pytest.mark.finding("N13")
def test_every_command_in_the_docs_exists_with_its_options(page, words):
    command, rest = resolve(words)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= known


def test_the_docs_name_commands_at_all():
    assert len(set(commands())) > 20


def test_the_reference_is_what_the_commands_say():
    made = subprocess.run([sys.executable, *GENERATE], cwd=ROOT, capture_output=True, text=True, check=True)
    again = shlex.join(["python", *GENERATE, "--output", str(REFERENCE.relative_to(ROOT))])
    assert made.stdout.strip() == REFERENCE.read_text().strip(), f"out of date; make it again: {again}"


def links():
    """Relative links and pictures of every page."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), sorted(links()), ids=str)
def test_every_link_leads_somewhere(page, target):
    assert (page.parent / target).exists()


def test_anchors_exist():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            text = (page.parent / target).read_text() if target else page.read_text()
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            assert anchor in [re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings]


def test_every_command_has_a_description():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(command.help for command in get_command(app).commands.values())
