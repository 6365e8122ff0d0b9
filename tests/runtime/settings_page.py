"""Makes docs/reference/settings.md from the settings' own descriptions."""

import sys
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from runtime.settings import PREFIX, ApiSettings, Settings, WorkerSettings
from runtime.vault import VaultSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
HEAD = """# Settings

What the API and the workers read at their start. Each is an environment variable, a line of the file that
`HOTSWAP_SETTINGS_FILE` names, a file of that name in the directory that `HOTSWAP_SECRETS_DIRECTORY` names,
or a key (in lower case, without `HOTSWAP_`) of a secret in Vault; the earlier of these wins. A name that is
not on this page stops the start, as does a value that breaks a rule.

This page is made by `python -m tests.runtime.settings_page`.
"""
GROUPS = {
    "Both": Settings,
    "The API": ApiSettings,
    "Workers": WorkerSettings,
    "Vault": VaultSettings,
}


def page() -> str:
    """The page as it must be."""
    parts = [HEAD]
    for title, kind in GROUPS.items():
        parts.append(f"\n## {title}\n\n| setting | default | meaning |\n|---|---|---|\n")
        parts.extend(
            f"| `{PREFIX}{name.upper()}` | {default(field)} | {str(field.description).replace('|', '/')} |\n"
            for name, field in sorted(kind.model_fields.items())
            if kind is Settings or name not in Settings.model_fields
        )
    return "".join(parts)


def default(field: FieldInfo) -> str:
    """As the table shows it."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or field.default in ([], {}):
        return "none"
    return f"`{getattr(field.default, 'value', field.default)}`"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
