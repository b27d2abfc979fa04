from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater_models.delimited import read_csv


def read(path: Path, data: bytes) -> dict[str, list[str]]:
    path.write_bytes(data)
    return {name: list(cells) for name, cells in read_csv(path).items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


@pytest.mark.parametrize(
    "data",
    [
        b"a, b\n1,two\n3,\n",
        b"a;b\n1;two\n3;\n",
        b"a\tb\r\n1\ttwo\r\n3\t\r\n",
        b'\xef\xbb\xbf\n\n"a",b\n\n1,two\n   \n3,""\n\n',
    ],
    ids=["commas", "semicolons", "tabs and returns", "a mark, quotes and blank lines"],
)
def test_a_table_is_read_however_it_is_separated(path: Path, data: bytes) -> None:
    assert read(path, data) == {"a": ["1", "3"], "b": ["two", ""]}


def test_a_comma_in_a_name_does_not_hide_the_separator(path: Path) -> None:
    assert read(path, b"at;T, inside;T, outside;h\n1;2;3;4\n") == {
        "at": ["1"],
        "T, inside": ["2"],
        "T, outside": ["3"],
        "h": ["4"],
    }


def test_long_files_are_read_in_parts(path: Path) -> None:
    rows = "".join(f"{i},{i * i}\n" for i in range(40_000))
    found = read(path, f"x,y\n{rows}".encode())
    assert found["x"] == [str(i) for i in range(40_000)]
    assert found["y"][-1] == str(39_999**2)


def test_a_header_alone_is_a_table_without_rows(path: Path) -> None:
    assert read(path, b"a,b\n") == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "needs a header line"),
        (b"a,b\n1,2\n\n1\n", "line 4: 1 cells, but the header names 2 columns"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells, but the header names 2 columns"),
        (b"a,b, a\n1,2,3\n", "line 1: 2 columns are called 'a'"),
        (b'a,b\n"1,2\n', "no CSV file"),
        (
            "T,b\n1,2\n1,°C\n".encode("latin-1"),
            "line 3, is not UTF-8 .*WINDOWS-1252 -t UTF-8 x.csv",
        ),
        ("a,b\n1,2\n".encode("utf-16"), "looks like UTF-16; convert it: iconv -f UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16; convert it: iconv -f UTF-16"),
    ],
)
def test_what_is_no_table_is_refused_and_the_place_named(
    path: Path, data: bytes, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read(path, data)


@pytest.mark.parametrize(
    "data", [b"plain", gzip.compress(b"a\n1\n", mtime=0)[:-6]], ids=["no gzip", "cut"]
)
def test_a_damaged_gzip_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SettingsError, match="no CSV file"):
        read(tmp_path / "x.csv.gz", data)
