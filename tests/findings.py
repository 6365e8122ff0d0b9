"""Makes docs/security/findings.md: each defect of the predecessor, and the tests tagged with its number.

`python -m tests.findings`; a test compares the page with the tags.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "security" / "findings.md"
HEAD: Final = """# Findings

What was wrong with the predecessor, what Hotswap promises instead, and the tests that prove it. The review of
the predecessor counted 85 findings and described 27 (numbers 1 to 27); N rows are named by its checklists, X
rows were found by reading its code. The other 58 were never described, so they are met by kind (validation,
races, authorisation, secrets, errors), not one by one.

A test carries its number as `@pytest.mark.finding("X12")`; this page is made from the tags by
`python -m tests.findings`, and a test compares the two. A row whose subject Hotswap does not have
says so; one that is not listed has no tagged test.
"""
NONE: Final = "no counterpart here: "
# Number, what holds here; a statement that begins with NONE needs no test.
STATEMENTS: Final = {
    "1": "A deployment follows its transition table; every other step raises and changes nothing.",
    "2": "No field of a domain object can be set, and nothing writes into a mapping that one holds.",
    "3": "Bad input is refused with the field's name and writes nothing, every field at its limits and "
    "beyond; the database refuses the same.",
    "4": "Nothing blocks the loop: the linter looks for it, and a slow look-up holds up no other request.",
    "5": "No account exists before a one-time bootstrap, whose password must be changed.",
    "6": "Chance is in no number, no decision and no secret; only heartbeats are spread by it.",
    "7": "What expires is purged in bounded batches, also when nobody reads it again.",
    "8": "No wait for a person is in process memory: API and worker killed between request and decision "
    "take the decision up once.",
    "9": f"{NONE}there is no round robin over consumers.",
    "10": "A zero, missing or thin baseline has a defined verdict, and none of them passes.",
    "11": "Writers of one deployment are ordered by its row; nothing is lost and there is one end.",
    "12": "A rollback that cannot prove its nodes asks a person, never ends as a success, and freezes the "
    "lane until somebody says what he found, which is audited.",
    "13": "No cookie is accepted anywhere, so no foreign page can act; bearer requests ignore cookies.",
    "14": "Every route declares a policy; the matrix of roles is in the repository.",
    "15": "Row-level security on every table: in one tenant's context the others' rows do not exist.",
    "16": "With one tenant's token and another's ids every route answers that there is nothing.",
    "17": "Other origins are refused by default; a star stops the start.",
    "18": "The algorithm of tokens is pinned, published keys are refused, forgeries get 401.",
    "19": "A live stream needs the right to read its tenant, and ends with that right or with the token.",
    "20": "Hashes, signatures and archives are worked on in threads beside the loop; workflow code replays.",
    "21": "No error is swallowed; ended under load, the API has reported no success without a row.",
    "22": "Readers wait for no writer: rows that are locked for writing are read meanwhile.",
    "23": "Who calls others has a deadline and tries again within it, with growing, spread pauses; without "
    "its database the API says 503 and goes on by itself. There is no circuit breaker: deadlines bound what "
    "a dead peer costs, and a node that is gone is quarantined.",
    "24": "Limits hold over replicas, and of many clients nothing is left after their window.",
    "25": "Functions over 60 lines or of complexity over 10 fail the build.",
    "26": "There is one rollback for all strategies, and no four statements in a row are written twice.",
    "27": "One settings module; unknown names stop the start; the page of settings is made from it.",
    "N1": "Whatever profile is not `development` means production rules.",
    "N2": "Two pages show what people wrote, a vote's and a judgement's: as text, without a script, under a "
    "policy that runs none. All other answers are data.",
    "N3": "A change and its entry in the audit trail are written both or not at all.",
    "N4": "Names have types, routes a version with rules for its change, logs levels that say whose "
    "fault it is; nothing is left for later.",
    "N5": "Tests are left out only where a program of the system is missing, with the reason, and in "
    "CI never. Twenty runs of the whole suite in a row were not made.",
    "N6": "Races have one winner: votes against expiry, quota at the limit, guesses against the lock-out.",
    "N7": "A thousand requests at once are all answered, fifty deployments at once lose none. A hundred a "
    "second from a thousand people were more than one API process got through on 2 shared cores: far from "
    "the bar (docs/benchmarks.md).",
    "N8": "Killed in the middle, API, worker, agents, PostgreSQL or Temporal, a rollout goes on, and nodes "
    "run the old or the new release. A network that loses packets is not part of the tests.",
    "N9": "All killed at once and started again, every GET route answers the same; nodes go on meanwhile.",
    "N10": "Secrets come from files, the environment or Vault; keys rotate under load and lose no request.",
    "N11": "Every alert has a test in which it fires and clears. Who is paged is the matter of one's own "
    "Alertmanager; none is part of the tests.",
    "N12": "A backup made under way comes back into an empty directory with the same rows, open workflows "
    "and answers, and what waited at a gate goes on; nodes that saw more take orders again. In part: of the "
    "embedded stack; a schedule, its retention and an archive of the log are the operator's.",
    "N13": "Every alert names the part of the operations page that says what to do, and every command "
    "there exists.",
    "N14": "docs/benchmarks.md has figures with machine, load and commit, from raw output that is kept, and "
    "what is measured of the settings; some are not. No regression of a figure fails CI.",
    "N15": "Three API processes are one: keys rotate, limits count, sessions end, streams go on and repeats "
    "are known at all of them, without a setting; what a further process gains is in docs/benchmarks.md.",
    "N16": "Logs are JSON; one id finds a rollout in all of them, and no secret is in any.",
    "N17": "Each of OWASP's risks has controls, and each control tests (docs/security/owasp.md). What the "
    "control plane connects to on somebody's word is bounded by the address that it connects to. No soak of "
    "72 hours and no penetration test by others were made.",
    "N18": "Warnings are errors in every test, but for Python's own about unclosed files; `make coverage` "
    "measures the suite with the processes that it starts, and fails below 85 %; decisions are in docs/adr.",
    "X1": "Whatever is sent, no answer is a server error, and each is one that the API document describes.",
    "X2": "A real rollout leaves traces, numbers and events; dashboards ask for what exists; an API "
    "without its database says that it is not ready.",
    "X3": "Every deployment that began has one end, with its cause and time, one event and one entry in "
    "the audit trail, for as long as it is kept.",
    "X4": "Whatever fails, whatever the strategy: every node that was touched runs the prior release, read "
    "back, or is named. Environments that came before keep what they completed.",
    "X5": "A rollback restores what was recorded, where it was changed, as a deployment of its own.",
    "X6": "One deployment at a time per environment; others wait in order.",
    "X7": "The actor comes from the token; nobody approves his own request; roles count as they are now.",
    "X8": "Fields that are unknown or the server's own are refused, in every body. Heartbeats may say more.",
    "X9": "A gate is decided once, by whoever comes first.",
    "X10": "A new signing key works on every replica without a restart, and the old one ends.",
    "X11": "Limits count per person and route; what a client says of its address is not believed.",
    "X12": "Guessing in parallel gains nothing, names are not told apart, sign-ins can be ended at once.",
    "X13": "Quotas are counted from the rows: at the limit, of many at once as many get in as fit.",
    "X14": "Tenants follow their table of states; what is deleted stays so.",
    "X15": f"{NONE}there is no billing and no price.",
    "X16": f"{NONE}there is no message queue for tenants.",
    "X17": f"{NONE}there is no message delivery for tenants.",
    "X18": f"{NONE}there is no schema registry.",
    "X19": "The audit trail is append-only, chained and dropped by whole months.",
    "X20": "Signatures are checked over the bytes that run; tampered, foreign, expired, revoked and weak "
    "ones are refused.",
    "X21": "A node that is silent for three heartbeats is unhealthy, and so is its environment, as is one "
    "without nodes; the judge's false alarms between equals are measured against a bar.",
    "X22": "Errors tell a code and a trace id, nothing of the inside, with the headers of any answer.",
    "X23": "The benchmark of a thousand people ran, with its raw output kept second by second; it is no part "
    "of CI.",
}


def tagged() -> dict[str, list[str]]:
    """The tests by the number of the finding that they prove."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, test in _of_file(path):
            found.setdefault(number, []).append(test)
    return found


def _of_file(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.finding":
                    yield str(ast.literal_eval(decorator.args[0])), f"{path.relative_to(ROOT)}::{node.name}"


def page() -> str:
    """The page as it must be."""
    tests = tagged()
    rows = []
    for number, statement in sorted(STATEMENTS.items(), key=lambda item: _order(item[0])):
        proof = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests.get(number, ())) or "—"
        rows.append(f"| {number} | {statement[0].upper()}{statement[1:]} | {proof} |\n")
    return f"{HEAD}\n| number | what holds here | proved by |\n|---|---|---|\n{''.join(rows)}"


def _order(number: str) -> tuple[str, int]:
    letter = number.rstrip("0123456789")
    return letter, int(number.removeprefix(letter))


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
