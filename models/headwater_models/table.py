"""Columns of a CSV or Parquet file: what a new model's channels, ranges and scales come from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.cells import (
    Texts,
    floats,
    has_decimal_comma,
    is_missing,
    is_number,
    number,
    share,
    texts,
)
from headwater_models.delimited import read_csv
from headwater_models.files import storage_errors

MARGIN = 0.5
"""How far a working sensor may go beyond what the data show, as a share of their span."""

MOSTLY = 0.9
"""A column of which at least this share are numbers was meant to hold numbers."""

MANY = 200
"""More different values than this are no classes or categories, unless someone lists them."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows under named columns: the cells of each column, as text.

    ``parts`` are the files that the rows come from, each with how many; none: one, the source.
    """

    source: str
    digest: str
    columns: Mapping[str, Sequence[str] | Texts]
    parts: tuple[tuple[str, int], ...] = ()

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
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            columns = _read_parquet(path) if path.suffix in (".parquet", ".pq") else read_csv(path)
        return cls(str(path), digest, columns)

    @property
    def rows(self) -> int:
        """Number of rows below the header."""
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> tuple[str, int]:
        """Return the file that row *row* of all stands in, and which of its rows it is, from 1."""
        for source, rows in self.parts:
            if row < rows:
                return source, row + 1
            row -= rows
        return self.source, row + 1

    def at(self, name: str, row: int) -> str:
        """Return where the cell of a column in row *row* of all stands, in words."""
        source, number = self.place(row)
        return f"{source}: column {name}, row {number}"

    def numeric(self, unread: Collection[str] = ()) -> list[str]:
        """Return the names of the columns that hold numbers, at least two different ones.

        Parameters
        ----------
        unread
            Columns that are not looked at.

        Raises
        ------
        SettingsError
            When most cells of another column are numbers, but not all; naming the first.
        """
        return [name for name in self.columns if name not in unread and self._varies(name)]

    def is_numeric(self, name: str) -> bool:
        """Say whether all cells of a column that are there are numbers."""
        return floats(self.cells(name)) is not None

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64 ``[R]``, NaN where a value is missing or not finite.

        Raises
        ------
        SettingsError
            When there is no such column, or a cell of it is no number.
        """
        values = floats(self.cells(name))
        if values is None:
            raise SettingsError(self._complaint(name))
        values[~np.isfinite(values)] = np.nan
        return values

    def coded(self, name: str, codes: Mapping[str, float]) -> NDArray[np.float64]:
        """Return a column of names or numbers as float64 ``[R]``, NaN where a value is missing.

        Parameters
        ----------
        codes
            The number that stands for each name.

        Raises
        ------
        SettingsError
            When there is no such column, or a cell of it is neither.
        """
        values = np.empty(self.rows)
        for row, cell in enumerate(map(str.strip, self.cells(name))):
            try:
                values[row] = codes[cell] if cell in codes else number(cell)
            except ValueError as error:
                known = ", ".join(codes) or "numbers"
                raise SettingsError(
                    f"{self.at(name, row)}: {cell!r} is unknown; the model knows {known}."
                ) from error
        return values

    def refuse_mostly_numbers(self, name: str) -> None:
        """Refuse a column of text that was meant to hold numbers.

        Raises
        ------
        SettingsError
            Naming the first cell that is none, or that has a decimal comma.
        """
        cells = self.cells(name)
        if share(cells, is_number) >= MOSTLY:
            raise SettingsError(self._complaint(name))
        if share(cells, lambda cell: is_number(cell) or has_decimal_comma(cell)) >= MOSTLY:
            row = next(at for at, cell in enumerate(cells) if has_decimal_comma(cell))
            raise SettingsError(
                f"{self.at(name, row)}: {cells[row]!r} has a decimal comma; write numbers with a "
                "point, or leave the column out with --ignore."
            )

    def classes(self, name: str) -> list[str]:
        """Return the different values of a column, sorted, missing ones left out.

        Raises
        ------
        SettingsError
            When there is no such column, it is empty, or it has too many values.
        """
        found = sorted({cell.strip() for cell in self.cells(name) if not is_missing(cell)})
        if not found:
            raise SettingsError(f"{self.source}: column {name} is empty.")
        if len(found) > MANY:
            raise SettingsError(
                f"{self.source}: column {name} has {len(found):,} different values, more than the "
                f"{MANY} that are taken for classes or categories; choose another column, or list "
                "them (in a file for --spec)."
            )
        return found

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

    def cells(self, name: str) -> Texts:
        """Return a column as text, ``[R]``.

        Raises
        ------
        SettingsError
            When there is no such column.
        """
        if name not in self.columns:
            raise SettingsError(
                f"{self.source} has no column {name!r}; it has {', '.join(self.columns)}."
            )
        return texts(self.columns[name])

    def _varies(self, name: str) -> bool:
        values = floats(self.cells(name))
        if values is None:
            self.refuse_mostly_numbers(name)
            return False
        there = values[np.isfinite(values)]
        return there.size > 0 and bool(there.min() < there.max())

    def _complaint(self, name: str) -> str:
        """Return what to say of a column that does not hold numbers alone."""
        cells = self.cells(name)
        there = [row for row, cell in enumerate(cells) if not is_missing(cell)]
        wrong = [row for row in there if not is_number(cells[row])]
        right = len(there) - len(wrong)
        others = f", as {right:,} of {len(there):,} cells are" if right else ""
        return (
            f"{self.at(name, wrong[0])}: {cells[wrong[0]]!r} is no number{others}; mend or empty "
            "it. To train without the column say --ignore, to read it as names --category."
        )


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
            name: np.concatenate([table.cells(name) for table in tables]) for name in first.columns
        },
        parts=tuple((table.source, table.rows) for table in tables),
    ), rows


def _read_parquet(path: Path) -> dict[str, Texts]:
    from headwater_models.parquet import read_columns  # noqa: PLC0415 - an extra

    columns = read_columns(path.read_bytes(), str(path))
    return {name: texts(cells) for name, cells in columns.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
