"""Parquet files as columns of text, and back; the one module that knows pyarrow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from headwater.errors import SettingsError


def read_columns(data: bytes, source: str) -> dict[str, list[str]]:
    """Read the columns of a Parquet file, each cell as text, a missing one as an empty one.

    Raises
    ------
    SettingsError
        When it is no Parquet file, or a column holds lists or records.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
    except (ArrowException, OSError, ValueError) as error:
        raise SettingsError(f"{source} is no Parquet file: {error}.") from error
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise SettingsError(
                f"{source}: column {field.name} holds {field.type}; leave it out or flatten it."
            )
    return {name: _texts(table.column(name).to_pylist()) for name in table.column_names}


def encode_columns(columns: Mapping[str, Sequence[object]]) -> bytes:
    """Return a Parquet file of columns of equal length."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: list(cells) for name, cells in columns.items()}), buffer)
    return buffer.getvalue()


def _texts(cells: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]
