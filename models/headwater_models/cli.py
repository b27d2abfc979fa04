"""``headwater model``: build, import, inspect, check and sign bundles.

Exit codes are those of the front door: 3 a wrong specification or key, 4 a bundle that is
damaged, unsigned or broken, 5 what no model can do, 8 the disk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
from headwater_models.head import head
from headwater_models.importer import import_
from headwater_models.keys import SigningKey, public_path, read_public
from headwater_models.new import AsJson, Delegates, new
from headwater_models.publishing import Publisher
from headwater_models.report import describe, names, show, tell

app = typer.Typer(no_args_is_help=True, add_completion=False)
key_app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(key_app, name="key", help="Make keys to sign with.")

BundlePath = Annotated[Path, typer.Argument(help="A bundle: a folder or a .zip.")]


@app.callback()
def model() -> None:
    """Build, import, inspect, check and sign model bundles."""


app.command("new")(new)
app.command("import")(import_)
app.command("head")(head)


@app.command()
def inspect(path: BundlePath, as_json: AsJson = False) -> None:
    """Show what a bundle is: names, task, channels, arrays and how they merge, signatures."""
    bundle = Bundle.load(path)
    if as_json:
        typer.echo(json.dumps(describe(bundle)))
    else:
        show(bundle, Console())


@app.command()
def check(
    path: BundlePath,
    key: Annotated[
        str | None,
        typer.Option(help="The publisher's public key (or its file), whose signature must hold."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a bundle strictly, prove its signatures, and try the graphs on made-up windows.

    Ends with code 4 and a sentence where anything does not hold.
    """
    bundle = Bundle.load(path, publisher=read_public(key) if key else None)
    kept = [_signature_law(bundle, key), *check_bundle(bundle, np.random.default_rng(0))]
    if as_json:
        typer.echo(json.dumps({**names(bundle), "ok": True, "laws": kept}))
    else:
        for law in kept:
            typer.echo(f"ok  {law}")


@app.command()
def sign(
    path: BundlePath,
    key: Annotated[Path, typer.Option(help="Private key of the publisher.")],
    delegate: Delegates = None,
    replaces: Annotated[
        Path | None,
        typer.Option(help="Private key of the publisher until now: KEY comes in its place."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a bundle in place as its publisher, and name the keys that may release versions."""
    bundle = Bundle.load(path)
    bundle = Publisher(key, delegate, replaces).sign(bundle)
    bundle.save(path, replace=True)
    tell(bundle, path, as_json=as_json)


@key_app.callback()
def key() -> None:
    """Make keys to sign with."""


@key_app.command("new")
def key_new(
    file: Annotated[Path, typer.Argument(help="The new private key; FILE.pub gets the public.")],
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key that only you can read, and its public half beside it."""
    made = SigningKey.create(file)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "public": made.public}))
    else:
        typer.echo(f"Private key {file} (keep it secret), public key {public_path(file)}:")
        typer.echo(made.public)


def _signature_law(bundle: Bundle, key: str | None) -> str:
    if bundle.model_statement is None:
        return "files are whole (there is no signature to prove)"
    trusted = "the publisher given" if key else "the publisher they name"
    return f"files are whole and signed by {trusted}"
