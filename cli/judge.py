"""`hotswap judge`: the judges on files, and past verdicts again from what they rested on."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from cli.errors import CommandFailed, why
from cli.report import show_verdict
from cli.session import connect, console
from domain.analysis import Outcome, Verdict
from domain.judging import JudgeName, Replay
from domain.offline import read_judge_config, read_looks

EXIT_CODES: Final = {Outcome.PASS: 0, Outcome.FAIL: 2, Outcome.INCONCLUSIVE: 3}
DIFFERENT: Final = 1
STANDARD_INPUT: Final = Path("-")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("judge")(judge)


def judge(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(help="What to judge and how: ours, or a Kayenta canary config.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="The samples, a file or - for standard input.")] = None,
    request: Annotated[
        Path | None, typer.Option(help="A Kayenta execution request, for its thresholds.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--judge", help="sequential, threshold or mann-whitney; else the config's.")
    ] = None,
    as_kayenta: Annotated[
        bool, typer.Option("--as-kayenta", help="All of Kayenta's fail-open behaviours on.")
    ] = False,
    replay: Annotated[
        str | None, typer.Option(metavar="ID", help="Judge a past look of this analysis again.")
    ] = None,
    look: Annotated[int | None, typer.Option(min=1, help="Which look; the last one without.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON.")] = False,
) -> None:
    """Judge files offline, or a past look again.

    Exit code 0 is a pass, 2 a fail, 3 inconclusive. A replay ends with 0 when the verdict is the same bit
    for bit, and with 1 when it is not.
    """
    if replay is not None:
        raise typer.Exit(_replay(context, replay, look, as_json=as_json))
    if config is None or samples is None:
        raise CommandFailed("--config and --samples are needed, or --replay")
    names: tuple[JudgeName, ...] = ("sequential", "threshold", "mann-whitney")
    chosen = next((name for name in names if name == by), None)
    if by is not None and chosen is None:
        raise CommandFailed(f"{by!r} is no judge; known are {', '.join(names)}", field="judge")
    reading = read_judge_config(
        read_document(config), read_document(request) if request else None, chosen, fail_open=as_kayenta
    )
    verdict = _judged(reading.policy, read_looks(read_document(samples), reading.specs))
    if as_json:
        notes = [note.model_dump() for note in reading.notes]
        sys.stdout.write(json.dumps({"verdict": verdict.model_dump(mode="json"), "notes": notes}) + "\n")
    else:
        for note in reading.notes:
            console.print(f"note: {note.field}: {note.reason}", highlight=False, markup=False)
        show_verdict(verdict)
    raise typer.Exit(EXIT_CODES[verdict.outcome])


def _judged(policy: Any, looks: Any) -> Verdict:
    from domain.judges.registry import judge as by_policy  # noqa: PLC0415 - numpy and scipy take a second

    state, verdict = None, None
    for each in looks:
        verdict, state = by_policy(policy, state, each)
        if verdict.outcome is Outcome.FAIL:
            break
    if verdict is None:
        raise CommandFailed("no looks", field="samples")
    return verdict


def _replay(context: typer.Context, analysis: str, look: int | None, *, as_json: bool) -> int:
    with connect(context) as client:
        kept = Replay.model_validate(client.get(f"/analyses/{analysis}/inputs", look=look))
    from domain.judges.registry import judge as by_policy  # noqa: PLC0415 - numpy and scipy take a second

    verdict, _ = by_policy(kept.judged.policy, kept.before, kept.judged.look)
    same = verdict.model_dump_json() == kept.verdict.model_dump_json()
    if as_json:
        body = {
            "same": same,
            "recomputed": verdict.model_dump(mode="json"),
            "stored": kept.verdict.model_dump(mode="json"),
        }
        sys.stdout.write(json.dumps(body) + "\n")
    else:
        show_verdict(verdict)
        words = "the same verdict, bit for bit" if same else "NOT the verdict that was stored"
        console.print(words, style="green" if same else "bold red")
    return 0 if same else DIFFERENT


def read_document(path: Path) -> Any:
    """A file of JSON, NaN included, or of YAML.

    Raises:
        CommandFailed: it cannot be read, or is neither.
    """
    try:
        text = sys.stdin.read() if path == STANDARD_INPUT else path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
    with suppress(ValueError):
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandFailed(f"{path} is neither JSON nor YAML: {why(error)}") from error
