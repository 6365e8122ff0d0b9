"""`hotswap module`: make, pack, sign and verify releases. Nothing here needs a control plane."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bundles.archive import inspect as inspect_bundle
from bundles.archive import pack as pack_bundle
from bundles.manifest import parse_manifest, read_manifest
from cli.errors import CommandFailed
from cli.session import AsJson, console, show_json
from cli.skeleton import skeleton
from domain.errors import BundleInvalid, InvalidInput, SignatureRefused
from domain.release import Kind

module_app = typer.Typer(no_args_is_help=True)

Tree = Annotated[
    Path, typer.Argument(metavar="DIRECTORY", exists=True, file_okay=False, help="The module's tree.")
]
BundleFile = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The bundle.")]


def signature_beside(bundle: Path) -> Path:
    """Where a bundle's signature is, unless somebody says otherwise: FILE.p7s."""
    return bundle.with_name(f"{bundle.name}.p7s")


@module_app.command("init")
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Made if it does not exist.")],
    name: Annotated[str | None, typer.Option(help="The module's name; default: the directory's.")] = None,
    kind: Annotated[Kind, typer.Option(help="How a node swaps it.")] = Kind.PROCESS,
) -> None:
    """Write a commented hotswap.toml and a minimal program to start from."""
    files = skeleton(name or directory.resolve().name, kind)
    try:
        parse_manifest(files["hotswap.toml"].encode())
    except BundleInvalid as error:
        raise InvalidInput(
            f"not a module's name; choose one with --name: {error.message}", field="name"
        ) from error
    for path in files:
        if (directory / path).exists():
            raise CommandFailed(f"{directory / path} exists; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (directory / path).write_text(text)
        console.print(f"wrote {directory / path}", markup=False)


@module_app.command("pack")
def pack(
    source: Tree,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: NAME-VERSION.tar.gz, here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a tree with a hotswap.toml as a bundle; equal trees give equal bytes."""
    manifest = read_manifest(source)
    destination = output or Path(f"{manifest.name}-{manifest.version}.tar.gz")
    if not destination.parent.is_dir():
        raise InvalidInput(f"{destination.parent} is not a directory", field="output")
    release = pack_bundle(source, destination)
    if as_json:
        show_json({"bundle": str(destination), **release.model_dump()})
        return
    console.print(f"{release} → {destination} ({destination.stat().st_size} bytes)", markup=False)
    console.print(f"sha256 {release.digest}\ntree   {release.tree}", markup=False)


@module_app.command("sign")
def sign(
    bundle: BundleFile,
    *,
    certificate: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The signer's, PEM.")],
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Its private key, PEM.")],
    chain: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Authorities up to a trust root, PEM.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Password of the key, on the first line.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: FILE.p7s.")] = None,
) -> None:
    """Sign a bundle: a detached CMS signature that openssl cms verifies too."""
    from bundles.signature import sign as sign_bundle  # noqa: PLC0415 - no other command needs cryptography

    inspect_bundle(bundle)  # nobody should sign what every receiver will refuse
    signature = sign_bundle(
        bundle,
        certificate.read_bytes(),
        key.read_bytes(),
        chain.read_bytes() if chain else b"",
        password=password_file.read_bytes().splitlines()[0] if password_file else None,
    )
    destination = output or signature_beside(bundle)
    destination.write_bytes(signature)
    console.print(f"wrote {destination}", markup=False)


@module_app.command("verify")
def verify(
    bundle: BundleFile,
    trust: Annotated[
        Path, typer.Option(exists=True, help="Trust roots: a PEM file, or a directory of *.pem and *.crt.")
    ],
    signature: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Default: FILE.p7s.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle as the control plane and the nodes will: signature, archive, manifest."""
    from bundles.signature import TrustStore  # noqa: PLC0415 - as above
    from bundles.signature import verify as verify_bundle  # noqa: PLC0415

    detached = signature or signature_beside(bundle)
    if not detached.exists():
        raise CommandFailed(f"no signature at {detached}: the bundle is unsigned", field="signature")
    try:
        signer = verify_bundle(bundle, detached.read_bytes(), TrustStore.load(trust), at=datetime.now(UTC))
        manifest, release = inspect_bundle(bundle)
    except (SignatureRefused, BundleInvalid) as error:
        if not as_json:
            raise
        reason = error.reason if isinstance(error, SignatureRefused) else None
        show_json(
            {
                "ok": False,
                "code": error.code,
                "reason": reason,
                "field": error.field,
                "message": error.message,
            }
        )
        raise typer.Exit(1) from error
    if as_json:
        show_json(
            {
                "ok": True,
                "kind": manifest.kind,
                **release.model_dump(),
                "signer": signer.model_dump(mode="json"),
            }
        )
        return
    console.print(f"{release} ({manifest.kind}), signed by {signer.subject}", markup=False)
    console.print(
        f"valid until {signer.not_after:%Y-%m-%d %H:%M} UTC, certificate sha256 {signer.fingerprint}"
    )
    console.print(f"sha256 {release.digest}\ntree   {release.tree}", markup=False)
