"""``headwater agent pause | resume | forget | reset | warm``: what an owner asks of a device."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from headwater.errors import NotNowError, SettingsError, UnsupportedError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.pauses import PARTS, Part, read_pauses, write_pauses
from headwater_agent.requests import Forget, Reset, Warm, Wish, ask
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.status import is_running
from headwater_models.bundle import Bundle
from headwater_models.requested import await_answer

MAX_HISTORY = 20_000
"""Newest records of a stream that are handed over."""

SettingsFile = Annotated[
    Path,
    typer.Option("--settings", envvar="HEADWATER_AGENT", help="The agent's settings."),
]
Parts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[learning|federation]...", help="What; without one, both."),
]


def pause(parts: Parts = None, settings_file: SettingsFile = Path("agent.toml")) -> None:
    """Stop learning, or federating, until it is resumed; predictions go on.

    What is predicted meanwhile is stored, scored, and held back from learning.
    """
    settings = load_settings(settings_file, os.environ)
    before, chosen = read_pauses(settings.share), _chosen(parts)
    _say(settings, tuple(part for part in PARTS if part in before or part in chosen))


def resume(parts: Parts = None, settings_file: SettingsFile = Path("agent.toml")) -> None:
    """Let learning, or federating, go on."""
    settings = load_settings(settings_file, os.environ)
    before, chosen = read_pauses(settings.share), _chosen(parts)
    _say(settings, tuple(part for part in before if part not in chosen))


def forget(
    settings_file: SettingsFile = Path("agent.toml"),
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Begin again from the release: personal model, contribution and examples are gone.

    What has left the device cannot be called back; the coordinator's `forget` takes statistics out.
    """
    settings = load_settings(settings_file, os.environ)
    if not yes:
        if not _is_asked():
            raise SettingsError("forgetting cannot be undone: say --yes, or ask from a terminal.")
        typer.confirm(
            f"Forget all that {settings.device} learned, and its examples? This cannot be undone, "
            "and what has left the device cannot be called back.",
            abort=True,
        )
    _ask(settings, Forget())


def reset(
    stream: Annotated[str, typer.Argument(help="Whose sensor was replaced.")],
    settings_file: SettingsFile = Path("agent.toml"),
) -> None:
    """Begin a stream anew, for its sensor was replaced: nothing from before is learned from."""
    settings = load_settings(settings_file, os.environ)
    reader = AgentReader(settings.agent_db, Bundle.load(settings.bundle).manifest)
    try:
        names = [row["name"] for row in reader.streams()]
    finally:
        reader.close()
    if stream not in names:
        raise SettingsError(
            f"there is no stream {stream!r}; there is {', '.join(names) or 'none'}."
        )
    _ask(settings, Reset(stream))


def warm(
    file: Annotated[Path, typer.Argument(help="History: .csv, .csv.gz or .parquet.")],
    settings_file: SettingsFile = Path("agent.toml"),
    *,
    stream: Annotated[
        str,
        typer.Option(help="Only this stream; where no column says, the rows are of this one."),
    ] = "",
    time: Annotated[str | None, typer.Option(help="The column with the time.")] = None,
    column: Annotated[
        str | None, typer.Option("--stream-column", help="The column with the stream's name.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column with the label.")] = None,
) -> None:
    """Fill windows, baselines, guard and drift detectors from history; nothing is published.

    The columns are the model's channels, in its units. Only what lies before a stream's first row
    is taken.
    """
    settings = load_settings(settings_file, os.environ)
    found = _histories(settings, file, (time, column, label), stream)
    if not found:
        raise SettingsError(f"{file} holds no record of {stream or 'any stream'}.")
    refused = [one for one in found if not _ask(settings, one, fails=False)]
    if len(refused) == len(found):
        raise UnsupportedError("none of the history was taken.")


def _is_asked() -> bool:
    """Say whether somebody is there to answer."""
    return sys.stdin.isatty()


def _histories(
    settings: AgentSettings, file: Path, columns: Sequence[str | None], stream: str
) -> list[Warm]:
    from headwater_models.offline.predicting import roles_for  # noqa: PLC0415 - ONNX Runtime
    from headwater_models.offline.recordings import Wishes, read_recordings  # noqa: PLC0415
    from headwater_models.table import Table  # noqa: PLC0415

    bundle = Bundle.load(settings.bundle)
    table = Table.read(file)
    time, column, label = columns
    roles = roles_for(table, Wishes(time=time, stream=column, label=label), bundle.facts)
    if roles.time is None:
        raise SettingsError(f"{file}: no column says when; name it with --time.")
    names = [stream or settings.device] * table.rows
    made = []
    for one in read_recordings(table, roles, bundle.manifest, names):
        if stream in ("", one.stream) and len(one.times):
            newest = slice(-MAX_HISTORY, None)
            if len(one.times) > MAX_HISTORY:
                typer.echo(f"{one.stream}: only the newest {MAX_HISTORY:,} records are used.")
            made.append(
                Warm.of(one.stream, one.times[newest], one.values[newest], one.labels[newest])
            )
    return made


def _chosen(parts: list[str] | None) -> tuple[Part, ...]:
    wrong = [part for part in parts or () if part not in PARTS]
    if wrong:
        raise SettingsError(f"{wrong[0]!r} cannot be paused; it is one of {', '.join(PARTS)}.")
    return tuple(part for part in PARTS if not parts or part in parts)


def _say(settings: AgentSettings, paused: tuple[Part, ...]) -> None:
    write_pauses(settings.share, paused)
    when = "" if is_running(settings) else "; no agent runs, and the next start will keep to it"
    typer.echo(f"Paused: {' and '.join(paused) or 'nothing'}{when}.")


def _ask(settings: AgentSettings, wish: Wish, *, fails: bool = True) -> bool:
    """Ask the agent, wait while one runs, say what became of it, and return whether it was done.

    Raises
    ------
    UnsupportedError
        When the agent would not do it, and that is a failure.
    NotNowError
        When it did not answer in time.
    """
    runs = is_running(settings)
    said = await_answer(ask(settings.requests, wish), lambda: is_running(settings))
    if said is not None:
        if fails and not said.done:
            raise UnsupportedError(said.text)
        typer.echo(said.text)
        return said.done
    if runs and is_running(settings):
        raise NotNowError("The agent did not answer yet; it will when it can. See its log.")
    typer.echo("No agent runs; the next start does it first.")
    return True
