"""The example module's trees, one per version."""

import shutil
import subprocess
import sys
from pathlib import Path

from cli.errors import CommandFailed
from runtime.embedded.directory import StackDirectory

BUILD = Path(__file__).parents[2] / "examples" / "greeter" / "build.py"


def trees(stack: StackDirectory, versions: tuple[str, ...]) -> dict[str, Path]:
    """Build examples/greeter in each version, below the stack's directory.

    Raises:
        CommandFailed: the example is not there (Hotswap was installed without its repository) or fails.
    """
    if not BUILD.exists():
        raise CommandFailed(f"{BUILD} is not there: run the demo from a clone of the repository")
    built = {version: stack.root / "demo" / "trees" / version for version in versions}
    for version, tree in built.items():
        shutil.rmtree(tree, ignore_errors=True)
        run = subprocess.run(
            [sys.executable, str(BUILD), version, str(tree)], capture_output=True, text=True, check=False
        )
        if run.returncode != 0:
            raise CommandFailed(f"building {version} failed: {run.stderr.strip()}")
    return built
