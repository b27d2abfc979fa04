"""A CSV file as columns of text: its encoding, its separator, and rows of one length."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from headwater.errors import SettingsError
from headwater_models.cells import Texts, texts

SEPARATORS = ",;\t"

_ROWS_AT_ONCE = 16_384
_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_csv(path: Path) -> dict[str, Texts]:
    """Read a CSV file with a header, gzipped where its name ends in ``.gz``.

    The separator is the one of comma, semicolon and tab that is most frequent in the header.
    Blank lines are left out.

    Raises
    ------
    SettingsError
        When it is no such file, naming the line; or of another encoding than UTF-8.
    OSError
        When it cannot be read.
    """
    try:
        with _unpacked(path) as file:
            _refuse_wide(path, file)
            with TextIOWrapper(file, "utf-8-sig", newline="") as lines:
                return _columns(path, lines)
    except UnicodeDecodeError as error:
        raise _other_encoding(path, error) from error
    except (csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SettingsError(f"{path} is no CSV file: {error}.") from error


def _unpacked(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _columns(path: Path, lines: TextIOWrapper) -> dict[str, Texts]:
    first = next((line for line in lines if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    lines.seek(0)
    rows = csv.reader(lines, delimiter=separator, strict=True)
    header = [name.strip() for name in next((row for row in rows if any(row)), [])]
    _check_header(path, header, rows.line_num)
    parts: list[list[Texts]] = [[] for _ in header]
    for block in _blocks(path, rows, len(header)):
        for column, cells in zip(parts, zip(*block, strict=True), strict=True):
            column.append(texts(cells))
    return {name: _joined(column) for name, column in zip(header, parts, strict=True)}


def _check_header(path: Path, header: Sequence[str], line: int) -> None:
    if not header:
        raise SettingsError(f"{path} needs a header line that names its columns.")
    for name in header:
        if header.count(name) > 1:
            raise SettingsError(
                f"{path}, line {line}: {header.count(name)} columns are called {name!r}; give each "
                "a name of its own."
            )


def _blocks(path: Path, rows: Any, width: int) -> Iterator[list[list[str]]]:
    """Yield blocks of rows that have *width* cells each."""
    block: list[list[str]] = []
    for row in rows:
        if len(row) == width:
            block.append(row)
        elif len(row) > 1 or (row and row[0].strip()):
            raise SettingsError(
                f"{path}, line {rows.line_num}: {len(row)} cells, but the header names {width} "
                "columns; mend the line."
            )
        if len(block) == _ROWS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def _joined(parts: list[Texts]) -> Texts:
    """Return the parts of a column in one, and let go of them."""
    whole = np.concatenate([texts([]), *parts])
    parts.clear()
    return whole


def _refuse_wide(path: Path, file: IO[bytes]) -> None:
    """Refuse UTF-16, which has a mark at its beginning or a zero in most characters."""
    begin = file.read(64)
    file.seek(0)
    if begin.startswith(_MARKS) or b"\0" in begin:
        raise SettingsError(
            f"{path} is not UTF-8 but looks like UTF-16; convert it: "
            f"iconv -f UTF-16 -t UTF-8 {path.name} > new.csv"
        )


def _other_encoding(path: Path, error: UnicodeDecodeError) -> SettingsError:
    """Return what to say of a file with a byte that UTF-8 does not have there."""
    with _unpacked(path) as file:
        line = next((at for at, text in enumerate(file, 1) if not _is_utf8(text)), 1)
    return SettingsError(
        f"{path}, line {line}, is not UTF-8 ({error.reason}); it may be Latin-1, as older "
        f"spreadsheets write. Convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new.csv"
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
