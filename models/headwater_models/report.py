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
from headwater_models.manifest import Array, Channel, Manifest, Schedule


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return names, manifest, sizes and signatures of a bundle, ready for JSON."""
    return {
        "model": bundle.model_id,
        "version": bundle.version_id,
        "manifest": msgspec.json.decode(bundle.manifest_json),
        "bytes": {
            "infer.onnx": len(bundle.infer),
            "train.onnx": len(bundle.train),
            "infer.stacked.onnx": len(bundle.stacked or b""),
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
            rows=[(c.name, c.unit, *_range(c)) for c in manifest.channels],
        )
    )
    console.print(
        _table(
            "array",
            "shape",
            "merges by",
            rows=[
                (a.name, " x ".join(map(str, a.shape)) or "scalar", _merge(a))
                for a in (*manifest.arrays, *manifest.statistics)
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
        ("learner", _learner(manifest)),
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
            what = f"forecast of {manifest.target} {manifest.horizon} ahead"
        case "classification":
            what = f"classification: {', '.join(manifest.classes)}"
        case task:
            what = task
    shares = ", ".join(f"{quantile:g}" for quantile in manifest.quantiles)
    return f"{what}, quantiles {shares}" if shares else what


def _range(channel: Channel) -> tuple[str, str]:
    """Return the ends of a range, or the first and the last category."""
    if channel.categories:
        return channel.categories[0], channel.categories[-1]
    return f"{channel.minimum:g}", f"{channel.maximum:g}"


def _merge(array: Array) -> str:
    return f"{array.merge}, frozen" if array.frozen else array.merge


def _grid(manifest: Manifest) -> str:
    grid = manifest.grid
    return (
        f"{grid.period}, gaps up to {grid.max_gap}, lateness {grid.lateness}, held for {grid.hold}"
    )


def _learner(manifest: Manifest) -> str:
    match manifest.learner:
        case "ridge":
            return f"ridge regression, penalty {manifest.ridge:g}{_from(manifest)}"
        case "naive_bayes":
            return f"naive Bayes{_from(manifest)}"
    optimiser = manifest.optimiser
    more = {
        f"momentum {optimiser.momentum:g}": optimiser.name == "momentum",
        f"weight decay {optimiser.weight_decay:g}": optimiser.weight_decay > 0,
        f"gradients clipped at {optimiser.clip:g}": optimiser.clip > 0,
        f"schedule {optimiser.schedule.kind}": optimiser.schedule != Schedule(),
    }
    rate = f"learning rate {optimiser.learning_rate:g}"
    said = [
        optimiser.name,
        rate,
        f"batch {optimiser.batch}",
        *(m for m, yes in more.items() if yes),
    ]
    return ", ".join(said)


def _from(manifest: Manifest) -> str:
    return f", from {manifest.min_count} examples on"


def _size(bundle: Bundle) -> str:
    arrays = bundle.manifest.arrays
    total = sum(array.size for array in arrays)
    local = sum(array.size for array in arrays if array.merge == "local")
    kept = f" ({local:,} stay on the device)" if local else ""
    return (
        f"{total:,} parameters{kept}, {4 * packed_size(bundle.manifest):,} bytes on the wire; "
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
