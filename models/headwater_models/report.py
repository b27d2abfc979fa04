"""What a bundle is, as plain data for programs and as tables for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table as Grid

from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return names, manifest, sizes and signatures of a bundle, ready for JSON."""
    return {
        "model": bundle.model_id,
        "version": bundle.version_id,
        "manifest": msgspec.json.decode(bundle.manifest_json),
        "bytes": {
            "infer.onnx": len(bundle.infer),
            "train.onnx": len(bundle.train),
            "wire": 4 * packed_size(bundle.manifest),
        },
        "signatures": _signatures(bundle),
        "facts": bundle.facts,
    }


def show(bundle: Bundle, console: Console) -> None:
    """Print a bundle for a person."""
    manifest = bundle.manifest
    about = Grid.grid(padding=(0, 2))
    about.add_column(style="bold", no_wrap=True)
    about.add_column(overflow="fold")
    for name, value in _about(bundle):
        about.add_row(name, value)
    console.print(about)
    console.print(
        _table(
            "channel",
            "unit",
            "minimum",
            "maximum",
            rows=[(c.name, c.unit, f"{c.minimum:g}", f"{c.maximum:g}") for c in manifest.channels],
        )
    )
    console.print(
        _table(
            "array",
            "shape",
            "merges by",
            rows=[
                (a.name, " x ".join(map(str, a.shape)) or "scalar", a.merge)
                for a in manifest.arrays
            ],
        )
    )


def _about(bundle: Bundle) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    return [
        ("name", manifest.name),
        ("model", bundle.model_id),
        ("version", bundle.version_id),
        ("signed", _signed(bundle)),
        ("task", _task(manifest)),
        ("window", f"{manifest.window} rows of {_grid(manifest)}"),
        ("loss", f"{manifest.loss}, against {manifest.baseline} as baseline"),
        ("optimiser", _optimiser(manifest)),
        ("size", _size(bundle)),
    ]


def _signed(bundle: Bundle) -> str:
    if bundle.model_statement is None:
        return "no"
    model, version = bundle.verify()
    delegates = ", ".join(model.release_keys) or "none"
    return (
        f"by publisher {model.publisher}; release keys: {delegates}; "
        f"{version.kind} {version.sequence} by {version.key}"
    )


def _signatures(bundle: Bundle) -> dict[str, Any] | None:
    if bundle.model_statement is None:
        return None
    model, version = bundle.verify()
    return {
        "publisher": model.publisher,
        "release_keys": list(model.release_keys),
        "created_ms": model.created,
        "kind": version.kind,
        "sequence": version.sequence,
        "parent": version.parent,
        "key": version.key,
    }


def _task(manifest: Manifest) -> str:
    match manifest.task:
        case "forecast":
            return f"forecast of {manifest.target} {manifest.horizon} ahead"
        case "classification":
            return f"classification: {', '.join(manifest.classes)}"
        case task:
            return task


def _grid(manifest: Manifest) -> str:
    grid = manifest.grid
    return (
        f"{grid.period}, gaps up to {grid.max_gap}, lateness {grid.lateness}, held for {grid.hold}"
    )


def _optimiser(manifest: Manifest) -> str:
    optimiser = manifest.optimiser
    return f"{optimiser.name}, learning rate {optimiser.learning_rate:g}, batch {optimiser.batch}"


def _size(bundle: Bundle) -> str:
    parameters = sum(array.size for array in bundle.manifest.arrays)
    return (
        f"{parameters:,} parameters, {4 * packed_size(bundle.manifest):,} bytes on the wire; "
        f"graphs of {len(bundle.infer):,} and {len(bundle.train):,} bytes"
    )


def _table(*names: str, rows: list[tuple[str, ...]]) -> Grid:
    table = Grid(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def names(bundle: Bundle) -> dict[str, str]:
    """Return a bundle's two names."""
    return {"model": bundle.model_id, "version": bundle.version_id}


def tell(bundle: Bundle, path: Path, *, as_json: bool) -> None:
    """Say on standard output what was written where."""
    if as_json:
        typer.echo(json.dumps({"path": str(path), **names(bundle)}))
    else:
        typer.echo(f"Wrote {path}:")
        show(bundle, Console())
