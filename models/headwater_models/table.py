"""Columns of a CSV or Parquet file: what a new model's channels, ranges and scales come from."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.files import storage_errors

MISSING = frozenset({"", "na", "nan", "null", "none", "?"})
"""Cells, in lower case, that stand for a missing value."""

MARGIN = 0.5
"""How far a working sensor may go beyond what the data show, as a share of their span."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file of rows under named columns: the cells of each column, as text."""

    source: str
    digest: str
    columns: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a CSV file with a header, gzipped where its name ends in ``.gz``, or Parquet.

        Raises
        ------
        SettingsError
            When it is no such file, or its rows are not of equal length.
        StorageError
            When it cannot be read.
        """
        with storage_errors(path, "read"):
            data = path.read_bytes()
        if path.suffix in (".parquet", ".pq"):
            from headwater_models.parquet import read_columns  # noqa: PLC0415 - an extra

            columns = read_columns(data, str(path))
        else:
            columns = _csv_columns(path, data)
        return cls(str(path), hashlib.sha256(data).hexdigest(), columns)

    @property
    def rows(self) -> int:
        """Number of rows below the header."""
        return len(next(iter(self.columns.values()), []))

    def numeric(self) -> list[str]:
        """Return the names of the columns that hold numbers, at least two different ones."""
        return [name for name in self.columns if self._varies(name)]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64 ``[R]``, NaN where a value is missing or not finite.

        Raises
        ------
        SettingsError
            When there is no such column, or a cell of it is no number.
        """
        try:
            values = np.array([_number(cell) for cell in self.cells(name)], np.float64)
        except ValueError as error:
            raise SettingsError(f"{self.source}: column {name}: {error}.") from error
        values[~np.isfinite(values)] = np.nan
        return values

    def matrix(self, names: Iterable[str]) -> NDArray[np.float64]:
        """Return several columns as float64 ``[R, C]``; raises as :meth:`numbers`."""
        return np.stack([self.numbers(name) for name in names], axis=1)

    def classes(self, name: str) -> list[str]:
        """Return the different values of a column, sorted, missing ones left out."""
        return sorted({cell.strip() for cell in self.cells(name)} - _missing(self.cells(name)))

    def reach(self, name: str) -> tuple[float, float]:
        """Return the least and the greatest value that a working sensor can be taken to report.

        The data's range, widened on both sides by :data:`MARGIN`; a quantity that is nowhere
        negative stays so.

        Raises
        ------
        SettingsError
            When the column has no two different values.
        """
        values = self.numbers(name)
        there = values[~np.isnan(values)]
        if there.size == 0 or there.min() == there.max():
            raise SettingsError(
                f"{self.source}: column {name} has no two different values to take a range from."
            )
        low, high = float(there.min()), float(there.max())
        margin = MARGIN * (high - low)
        bottom = max(low - margin, 0.0) if low >= 0 else low - margin
        return _rounded(bottom), _rounded(high + margin)

    def cells(self, name: str) -> list[str]:
        """Return a column as text.

        Raises
        ------
        SettingsError
            When there is no such column.
        """
        if name not in self.columns:
            raise SettingsError(
                f"{self.source} has no column {name!r}; it has {', '.join(self.columns)}."
            )
        return self.columns[name]

    def _varies(self, name: str) -> bool:
        try:
            values = self.numbers(name)
        except SettingsError:
            return False
        there = values[~np.isnan(values)]
        return there.size > 0 and bool(there.min() < there.max())


def read_all(paths: Sequence[Path]) -> tuple[Table, list[str]]:
    """Read files with the same columns below each other.

    Returns
    -------
    tuple
        All rows, and for each the name of its file without what follows the first dot.

    Raises
    ------
    SettingsError
        When a file is of no known kind or has no rows, or the columns differ.
    StorageError
        When one cannot be read.
    """
    first, *others = tables = [Table.read(path) for path in paths]
    for empty in (table for table in tables if not table.rows):
        raise SettingsError(f"{empty.source} has no rows below its header.")
    for other in others:
        if differing := first.columns.keys() ^ other.columns.keys():
            raise SettingsError(
                f"{other.source} and {first.source} have different columns: "
                f"{', '.join(sorted(differing))}. Give files of one kind."
            )
    names = [path.name.partition(".")[0] for path in paths]
    rows = [name for name, table in zip(names, tables, strict=True) for _ in range(table.rows)]
    if not others:
        return first, rows
    return Table(
        source=", ".join(table.source for table in tables),
        digest=hashlib.sha256("".join(table.digest for table in tables).encode()).hexdigest(),
        columns={
            name: [cell for table in tables for cell in table.columns[name]]
            for name in first.columns
        },
    ), rows


def _csv_columns(path: Path, data: bytes) -> dict[str, list[str]]:
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text), strict=True)
        cells = [[row[at] for row in rows] for at in range(len(header))]
    except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise SettingsError(f"{path} is no CSV file: {error}.") from error
    except (ValueError, IndexError) as error:
        raise SettingsError(
            f"{path} needs a header line and as many cells in each row as there are names."
        ) from error
    return {name.strip(): column for name, column in zip(header, cells, strict=True)}


def _number(cell: str) -> float:
    text = cell.strip()
    return math.nan if text.lower() in MISSING else float(text)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _missing(cells: Iterable[str]) -> set[str]:
    return {cell.strip() for cell in cells if cell.strip().lower() in MISSING}
