"""Assembles the source tree of one greeter release: `python3 examples/greeter/build.py VERSION DIRECTORY`.

The releases differ in their manifest only, so the program exists once.
"""

import argparse
import shutil
import string
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Release:
    """What is particular to one version."""

    description: str
    environment: dict[str, str] = field(default_factory=dict)


RELEASES = {
    "1.0.0": Release("Says hello.", {"GREETING": "Hello"}),
    "2.0.0": Release("Says hello to the world.", {"GREETING": "Hello, world"}),
    # A real regression: this one looks its greeting up in a place that is slow and does not always answer.
    # Start-up and the health check do not notice; traffic does.
    "3.0.0": Release(
        "Looks its greeting up, slowly, and sometimes in vain.",
        {"GREETING": "Hello, dear world", "LOOKUP_SECONDS": "0.08", "LOOKUP_FAILURES": "0.08"},
    ),
}


def build(version: str, destination: Path) -> None:
    """Write program and manifest of one of `RELEASES` into a new directory, ready to pack."""
    release = RELEASES[version]
    template = string.Template((HERE / "hotswap.toml.template").read_text())
    manifest = template.substitute(
        version=version,
        description=release.description,
        environment="\n".join(f'{name} = "{value}"' for name, value in release.environment.items()),
    )
    destination.mkdir(parents=True)
    (destination / "hotswap.toml").write_text(manifest)
    shutil.copyfile(HERE / "greeter.py", destination / "greeter.py")


def main() -> None:
    parser = argparse.ArgumentParser(description="Assemble the source tree of one greeter release.")
    parser.add_argument("version", choices=sorted(RELEASES))
    parser.add_argument("directory", type=Path, help="must not exist")
    arguments = parser.parse_args()
    build(arguments.version, arguments.directory)


if __name__ == "__main__":
    main()
