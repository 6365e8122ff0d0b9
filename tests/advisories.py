"""`python -m tests.advisories`: known vulnerabilities of what we lock, by pip-audit; part of `make lint`.

An index that publishes no advisories (a mirror, or none at all) is noticed with one question, and said.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
LOCKED: Final = ROOT / "requirements.txt"
# Answered with advisories wherever there are any: old, and with known ones.
KNOWN_BAD: Final = "jinja2==2.4.1\n"
AUDIT: Final = (sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off")


def audit(requirements: Path) -> list[dict[str, Any]] | None:
    """What pip-audit says of each package; None when it could not ask."""
    done = subprocess.run(
        [*AUDIT, "--format", "json", "--timeout", "10", "-r", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return None
    return found


def main() -> int:
    """0 when nothing is known against what we lock, or nothing can be known here; 1 otherwise."""
    with tempfile.TemporaryDirectory() as scratch:
        probe = Path(scratch) / "probe.txt"
        probe.write_text(KNOWN_BAD)
        answer = audit(probe)
    if not answer or not answer[0].get("vulns"):
        sys.stdout.write("advisories: the package index here publishes none: NOT audited\n")
        return 0
    found = audit(LOCKED)
    if found is None:
        sys.stdout.write("advisories: pip-audit failed\n")
        return 1
    bad = [each for each in found if each.get("vulns")]
    for each in bad:
        known = ", ".join(vulnerability["id"] for vulnerability in each["vulns"])
        sys.stdout.write(f"advisories: {each['name']} {each['version']}: {known}\n")
    sys.stdout.write(f"advisories: {len(found)} packages audited, {len(bad)} with known vulnerabilities\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
