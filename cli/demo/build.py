"""The example module's trees, one per version."""

from pathlib import Path

from runtime.embedded.directory import StackDirectory


def trees(stack: StackDirectory, versions: tuple[str, ...]) -> dict[str, Path]:
    """Build examples/greeter for each version below the stack's directory."""
    raise NotImplementedError(f"examples/greeter is not there yet: {stack.root} {versions}")
