"""Make the compact copy of the Beijing air-quality data that the simulator ships.

``python -m benchmarks.pack_beijing FOLDER`` reads the hourly files of UCI 501 from a folder and
writes ``simulator/headwater_simulator/data/beijing.npz``; the same files give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater_simulator.streams import pack, read_csv

STATIONS = ("Aotizhongxin", "Changping", "Dongsi", "Gucheng")
"""Four that differ: north of the centre, a far suburb, the centre, the industrial west."""

TARGET = (
    Path(__file__).resolve().parents[1] / "simulator" / "headwater_simulator" / "data"
) / "beijing.npz"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with NAME.csv.gz of each station.")],
    target: Annotated[Path, typer.Option(help="File to write.")] = TARGET,
) -> None:
    """Write the shipped copy."""
    pack(((name, read_csv(folder / f"{name}.csv.gz")) for name in STATIONS), target)
    typer.echo(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    typer.run(main)
