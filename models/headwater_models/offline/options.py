"""The options of ``headwater train`` and ``predict`` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DATA, NETWORK, TIME = "Data and task", "Network", "Learning"
"""The panels of the help."""

Files = Annotated[
    list[Path],
    typer.Argument(help="CSV (.gz too) or Parquet; several with the same columns are streams."),
]
Time = Annotated[
    str | None,
    typer.Option(help="Column that says when; found by its name or dates.", rich_help_panel=DATA),
]
Form = Annotated[
    Literal["auto", "iso8601", "s", "ms", "us", "ns"],
    typer.Option("--time-format", help="How it says when.", rich_help_panel=DATA),
]
Stream = Annotated[
    str | None,
    typer.Option(help="Column that names the stream of a row.", rich_help_panel=DATA),
]
Label = Annotated[
    str | None,
    typer.Option(help="Column with what is right: a class or a number.", rich_help_panel=DATA),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Column of groups (people, machines): judge by groups never seen.",
        rich_help_panel=DATA,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(help="Column to leave out; repeatable.", rich_help_panel=DATA),
]
Period = Annotated[
    str | None,
    typer.Option(
        help="Time between two rows, such as 1h; by default the median of the data.",
        rich_help_panel=DATA,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Rows in a window; by default 24 to forecast and for anomalies, else 1.",
        rich_help_panel=DATA,
    ),
]
MaxGap = Annotated[
    str | None,
    typer.Option(help="Silence that ends a window; by default 5 periods.", rich_help_panel=DATA),
]
Kind = Annotated[
    Literal["linear", "mlp", "resnet", "cnn", "gru", "autoencoder"] | None,
    typer.Option(
        help="Network; by default mlp, for anomalies autoencoder.", rich_help_panel=NETWORK
    ),
]
Validation = Annotated[
    float,
    typer.Option(min=0.01, max=0.5, help="Share that decides when to stop.", rich_help_panel=TIME),
]
Test = Annotated[
    float, typer.Option(min=0.01, max=0.5, help="Share that judges.", rich_help_panel=TIME)
]
Epochs = Annotated[
    int, typer.Option(min=1, help="Passes over the training part at most.", rich_help_panel=TIME)
]
Patience = Annotated[
    int,
    typer.Option(min=1, help="Passes without gain after which to stop.", rich_help_panel=TIME),
]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is random.")]
