"""``headwater agent quarantine``: see what the guard keeps aside, and put it back."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headwater.errors import SettingsError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.events import Mark, MarkReason
from headwater_agent.moments import parse_moment, show_moment
from headwater_agent.quarantine import UNUSABLE, Wanted, clear, find_held, find_marks
from headwater_agent.requests import Clear, ask
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.status import is_running
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest
from headwater_models.requested import await_answer

app = typer.Typer(no_args_is_help=True, add_completion=False)

SettingsFile = Annotated[
    Path,
    typer.Option("--settings", envvar="HEADWATER_AGENT", help="The agent's settings."),
]
Stream = Annotated[str, typer.Option(help="Only this stream.")]
Channel = Annotated[str, typer.Option(help="Only values of this channel.")]
Reason = Annotated[
    str, typer.Option(help=f"Only for this reason: {', '.join(get_args(MarkReason))}.")
]
Since = Annotated[str, typer.Option(help="Only from this time on, ISO 8601; UTC if not said.")]
Until = Annotated[str, typer.Option(help="Only before this time.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.callback()
def quarantine() -> None:
    """See what the guard keeps aside, and put it back where it was right."""


@app.command("list")
def show(
    settings_file: SettingsFile = Path("agent.toml"),
    *,
    stream: Stream = "",
    channel: Channel = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    newest: Annotated[int, typer.Option(min=1, help="At most so many values.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List values that are kept aside, newest first, and count the windows held back for them."""
    settings = load_settings(settings_file, os.environ)
    manifest = Bundle.load(settings.bundle).manifest
    wanted = _wanted(
        manifest, stream=stream, channel=channel, reason=reason, since=since, until=until
    )
    reader = AgentReader(settings.agent_db, manifest)
    try:
        marks, held = find_marks(reader, manifest, wanted), find_held(reader, wanted)
    finally:
        reader.close()
    if as_json:
        found = [_as_dict(mark, manifest) for mark in marks[:newest]]
        typer.echo(
            msgspec.json.encode({"values": len(marks), "windows": len(held), "newest": found})
        )
        return
    console = Console()
    console.print(f"{_count(marks, 'value')} kept aside, {_count(held, 'window')} held back.")
    if marks:
        counts = Counter(mark.reason for mark in marks)
        console.print(", ".join(f"{count:,} {name}" for name, count in counts.most_common()))
        console.print(_table(marks[:newest], manifest))


@app.command()
def release(
    settings_file: SettingsFile = Path("agent.toml"),
    *,
    stream: Stream = "",
    channel: Channel = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Everything; needed where nothing is chosen.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say that values were right: they go back into their rows, and are learned from.

    A running agent does it within seconds, else the next start does.
    """
    settings = load_settings(settings_file, os.environ)
    manifest = Bundle.load(settings.bundle).manifest
    wanted = _wanted(
        manifest, stream=stream, channel=channel, reason=reason, since=since, until=until
    )
    if wanted == Wanted() and not everything:
        raise SettingsError(
            "nothing is chosen: say --stream, --channel, --reason, --since or --until, or --all."
        )
    reader = AgentReader(settings.agent_db, manifest)
    try:
        found = clear(reader, manifest, wanted)
        every = find_marks(reader, manifest, wanted)
        unusable = [mark for mark in every if mark.reason == UNUSABLE]
    finally:
        reader.close()
    done = bool(found.marks or found.examples) and _grant(settings, wanted)
    if as_json:
        counts = {"values": len(found.marks), "windows": len(found.examples)}
        typer.echo(msgspec.json.encode({**counts, "done": done}))
        return
    values, windows = _count(found.marks, "value"), _count(found.examples, "window")
    if not (found.marks or found.examples):
        typer.echo("Nothing that could be put back is kept aside there.")
    elif done:
        typer.echo(f"Put {values} back and learned from {windows}.")
    else:
        typer.echo(f"The agent will put {values} back and learn from {windows} when it runs.")
    if unusable:
        typer.echo(f"{_count(unusable, 'value')} not finite, and so not usable, left aside.")


def _grant(settings: AgentSettings, wanted: Wanted) -> bool:
    """Ask the agent and say whether it did it while one waits."""
    path = ask(settings.requests, Clear(wanted))
    said = await_answer(path, lambda: is_running(settings))
    return said is not None and said.done


def _wanted(
    manifest: Manifest, *, stream: str, channel: str, reason: str, since: str, until: str
) -> Wanted:
    names = [one.name for one in manifest.channels]
    if channel and channel not in names:
        raise SettingsError(f"--channel: the model has no {channel!r}; it has {', '.join(names)}.")
    reasons = get_args(MarkReason)
    if reason and reason not in reasons:
        raise SettingsError(f"--reason: {reason!r} is none of {', '.join(reasons)}.")
    default = Wanted()
    return Wanted(
        stream=stream,
        channel=channel,
        reason=reason,
        since=parse_moment("--since", since) if since else default.since,
        until=parse_moment("--until", until) if until else default.until,
    )


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things):,} {name}{'s' * (len(things) != 1)}"


def _as_dict(mark: Mark, manifest: Manifest) -> dict[str, object]:
    return {
        "stream": mark.stream,
        "time": mark.time,
        "channel": manifest.channels[mark.channel].name,
        "value": mark.value,
        "reason": mark.reason,
    }


def _table(marks: list[Mark], manifest: Manifest) -> Table:
    table = Table("stream", "time", "channel", "value", "why", box=None, pad_edge=False)
    for mark in marks:
        channel = manifest.channels[mark.channel]
        table.add_row(
            mark.stream,
            show_moment(mark.time),
            channel.name,
            f"{mark.value:g} {channel.unit}".strip(),
            mark.reason,
        )
    return table
