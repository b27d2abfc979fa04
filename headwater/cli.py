"""The front door: the ``headwater`` command, which loads each part only when it is asked for.

Its exit codes are those of the classes in :mod:`headwater.errors`, and the shells' own.
"""

from __future__ import annotations

import importlib
import traceback
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import click
import typer
from typer.core import TyperGroup

from headwater import __version__
from headwater.errors import HeadwaterError, UnsupportedError
from headwater.logs import FORMAT_VARIABLE, LogFormat, configure_logging

EXTRAS = {
    "onnx": "build",
    "psycopg": "postgresql",
    "pyarrow": "parquet",
    "ray": "ray",
    "starlette": "coordinator",
    "uvicorn": "coordinator",
    "iotcore": "simulator",
}
"""Packages that the base install lacks, each with the extra that brings it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-command that is imported when it is called: ``module:attribute``, a Typer app."""

    module: str
    attribute: str
    summary: str

    def load(self, name: str) -> click.Command:
        """Import the part and return its command."""
        app: typer.Typer = getattr(importlib.import_module(self.module), self.attribute)
        command = typer.main.get_command(app)
        command.name = name
        return command


PARTS = {
    "model": Part("headwater_models.cli", "app", "Build, inspect, check and sign model bundles."),
    "train": Part(
        "headwater_models.offline.commands", "train_app", "Learn a first model from your own data."
    ),
    "predict": Part(
        "headwater_models.offline.commands", "predict_app", "Predict a table with a bundle."
    ),
    "agent": Part("headwater_agent.cli", "app", "Predict and learn on this device's streams."),
    "coordinator": Part(
        "headwater_coordinator.cli", "app", "Merge what the fleet learned, judge it, release it."
    ),
    "simulate": Part(
        "headwater_simulator.simulate_cli", "app", "Simulate a fleet of any size on this machine."
    ),
    "demo": Part("headwater_simulator.cli", "app", "Show the whole loop on this machine."),
}


class FrontDoor(TyperGroup):
    """A group that knows its parts by name and summary, and turns errors into exit codes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, part in PARTS.items():
            self.add_command(click.Command(name, help=part.summary))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command, importing the part it belongs to."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in PARTS:
            command = PARTS[name].load(name)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; an error that a user can cause becomes a sentence."""
        try:
            return super().invoke(ctx)
        except HeadwaterError as error:
            self._fail(ctx, error)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            sentence = f"This needs {error.name}; run: pip install 'headwater[{extra}]'"
            self._fail(ctx, UnsupportedError(sentence).with_traceback(error.__traceback__))

    def _fail(self, ctx: click.Context, error: HeadwaterError) -> None:
        if ctx.params["traceback"]:
            traceback.print_exception(error)
        else:
            for line in str(error).splitlines() or [type(error).__name__]:
                typer.echo(f"error: {line}", err=True)
        ctx.exit(error.exit_code)


EXIT_CODES = (
    "Exit codes: 0 done, 1 an error of the program, 2 wrong usage, 3 settings, 4 a bundle, "
    "5 not supported or not installed, 6 the other side, 7 unreachable, 8 disk, "
    "9 not allowed now, 10 the ledger, 130 interrupted."
)

app = typer.Typer(cls=FrontDoor, no_args_is_help=True, suggest_commands=False, epilog=EXIT_CODES)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def front_door(
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(envvar="HEADWATER_LOG_LEVEL", help="Least severe record shown on stderr."),
    ] = "info",
    log_format: Annotated[
        LogFormat, typer.Option(envvar=FORMAT_VARIABLE, help="How a record looks on stderr.")
    ] = "auto",
    traceback: Annotated[  # noqa: ARG001 - read by FrontDoor from the context
        bool,
        typer.Option(
            "--traceback", envvar="HEADWATER_TRACEBACK", help="Show where an error came from."
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """ONNX models that learn on sensor streams at the edge, and as a fleet."""
    configure_logging(log_level, log_format)


def main() -> None:
    """Run the ``headwater`` command."""
    typer.main.get_command(app)(prog_name="headwater")
