"""`hotswap module push` and `ls`: releases as the control plane keeps them."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandFailed
from cli.module import signature_beside
from cli.session import AsJson, connect, console, moment, show_json, show_table

BundleFile = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The bundle.")]
SignatureFile = Annotated[
    Path | None, typer.Option("--signature", help="The detached CMS signature; default: FILE.p7s beside it.")
]


def register(module_app: typer.Typer) -> None:
    """Add these commands to `hotswap module`."""
    module_app.command()(push)
    module_app.command("ls")(list_releases)


def push(context: typer.Context, file: BundleFile, signature: SignatureFile = None) -> None:
    """Bring a signed bundle to the control plane."""
    detached = signature or signature_beside(file)
    if not detached.exists():
        raise CommandFailed(
            f"no signature at {detached}: sign first with 'hotswap module sign'", field="signature"
        )
    parts = {
        "bundle": (file.name, file.read_bytes()),
        "signature": (detached.name, detached.read_bytes()),
    }
    with connect(context) as client:
        release = client.upload("/modules", parts)
    console.print(f"{release['module']}@{release['version']} pushed, sha256:{release['digest']}")


def list_releases(
    context: typer.Context,
    module: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this module.")] = None,
    as_json: AsJson = False,
) -> None:
    """List releases, newest first."""
    with connect(context) as client:
        found = list(client.items("/modules", module=module))
    if as_json:
        show_json(found)
        return
    columns = ("module", "version", "kind", "size", "signer", "pushed by", "pushed")
    keys = ("module", "version", "kind", "size", "signer", "pushed_by")
    show_table(columns, ([*(each[key] for key in keys), moment(each["pushed_at"])] for each in found))
