"""``headwater agent trace``: what became of one record, for a person."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headwater_agent.moments import parse_moment, show_moment
from headwater_agent.settings import load_settings
from headwater_agent.trace import Trace
from headwater_agent.trace import trace as find
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest

_MEANS = {
    "learned": "learned by the personal model",
    "waits": "waits to be learned",
    "reserved": "reserved: models are judged on it, and it is never learned from",
    "held back": "held back from learning; see `headwater agent quarantine`",
    "none": "none: it has no label yet, is too near to a reserved block, or is no longer kept",
}


def trace(
    stream: Annotated[str, typer.Argument(help="Of which stream.")],
    time: Annotated[str, typer.Argument(help="When, ISO 8601; UTC if not said.")],
    settings_file: Annotated[
        Path, typer.Option("--settings", envvar="HEADWATER_AGENT", help="The agent's settings.")
    ] = Path("agent.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a record's row, its predictions, label and example, the update and release of it."""
    settings = load_settings(settings_file, os.environ)
    manifest = Bundle.load(settings.bundle).manifest
    found = find(settings, manifest, stream, parse_moment("TIME", time))
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        show(found, manifest, Console())


def show(found: Trace, manifest: Manifest, console: Console) -> None:
    """Print a trace."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _lines(found, manifest):
        facts.add_row(name, value)
    console.print(facts)


def _lines(found: Trace, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "record", f"{found.stream}, in the row of {show_moment(found.time_ms)}"
    cells = ", ".join(
        f"{name} {'missing' if value is None else f'{value:g}'}"
        for name, value in found.row.items()
    )
    yield "row", cells or "not stored, or no longer"
    for mark in found.aside:
        name = manifest.channels[mark.channel].name
        yield "kept aside", f"{name} {mark.value:g} ({mark.reason})"
    if not found.predictions:
        yield "prediction", "none: its window was not whole, or it is no longer kept"
    for made in found.predictions:
        yield "prediction", f"{made.id} by version {made.version[:12]}, {made.served} was published"
        yield (
            "",
            ", ".join(
                f"{name} {_numbers(getattr(made, name))}"
                for name in ("released", "personal", "baseline")
            ),
        )
        yield "label", "none yet" if made.label is None else f"{made.label:g}"
    sequence = f"number {found.example.sequence}, " if found.example.sequence else ""
    yield "example", sequence + _MEANS[found.example.fate]
    if found.update is not None:
        update = found.update
        said = update.answer or "no answer yet"
        sent = "" if update.answered_ms is None else f" at {show_moment(update.answered_ms)}"
        yield (
            "update",
            f"number {update.sequence}, begun {show_moment(update.taken_ms)}: {said}{sent}",
        )
    if found.release is not None:
        release = found.release
        yield (
            "release",
            (
                f"{release.version[:12]}, sequence {release.sequence}, received "
                f"{show_moment(release.received_ms)}"
            ),
        )


def _numbers(values: Sequence[float | None]) -> str:
    """Write numbers; what is not known is none."""
    return " ".join("-" if v is None or math.isnan(v) else f"{v:.4g}" for v in values)
