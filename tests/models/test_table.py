"""Tables: what a new model's channels, ranges and scales come from."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import SettingsError, StorageError
from headwater_models.parquet import encode_columns
from headwater_models.table import Table, read_all

TEXT = """\
time,level,rain,state,pump
1,2.5,NA,dry,0
2,,3.0,wet,0
3,7.5,1.0,wet,0
4,5.0,nan,NA,0
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "river.csv"
    path.write_text(TEXT)
    return Table.read(path)


def test_missing_cells_are_nan(table: Table) -> None:
    np.testing.assert_array_equal(table.numbers("level"), [2.5, np.nan, 7.5, 5.0])
    np.testing.assert_array_equal(table.numbers("rain"), [np.nan, 3.0, 1.0, np.nan])


def test_numeric_columns_are_those_whose_numbers_differ(table: Table) -> None:
    assert table.numeric() == ["time", "level", "rain"]


def test_classes_are_the_values_of_a_column_but_missing_ones(table: Table) -> None:
    assert table.classes("state") == ["dry", "wet"]


def test_reach_goes_half_the_span_beyond_the_data_and_never_below_zero_by_itself(
    table: Table,
) -> None:
    assert table.reach("level") == (0.0, 10.0)
    assert table.reach("rain") == (0.0, 4.0)


def test_reach_of_a_quantity_with_negative_values_goes_further_down(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("temperature\n-10\n10\n")
    assert Table.read(tmp_path / "t.csv").reach("temperature") == (-20.0, 20.0)


def test_a_column_without_two_values_has_no_reach(table: Table) -> None:
    with pytest.raises(SettingsError, match="column pump has no two different values"):
        table.reach("pump")


def test_a_gzipped_file_is_read_and_known_by_its_own_digest(tmp_path: Path) -> None:
    data = gzip.compress(TEXT.encode())
    (tmp_path / "river.csv.gz").write_bytes(data)
    table = Table.read(tmp_path / "river.csv.gz")
    assert (table.rows, table.digest) == (4, hashlib.sha256(data).hexdigest())


def test_an_unknown_column_is_refused_with_the_names_there_are(table: Table) -> None:
    with pytest.raises(SettingsError, match="no column 'snow'; it has time, level, rain"):
        table.numbers("snow")


def test_a_cell_that_is_no_number_is_named_with_its_row(table: Table) -> None:
    with pytest.raises(SettingsError, match="column state, row 1: 'dry' is no number; mend"):
        table.numbers("state")


def mostly(*odd: str) -> Table:
    return Table(
        "t.csv", "", {"warmth": [*map(str, range(99)), *odd], "x": ["a"] * (99 + len(odd))}
    )


def test_a_column_of_numbers_with_a_few_words_is_refused_and_not_left_out() -> None:
    with pytest.raises(SettingsError, match="column warmth, row 100: 'warm' is no number") as told:
        mostly("warm").numeric()
    assert "as 99 of 100 cells are" in str(told.value)
    assert "--ignore" in str(told.value)
    assert "--category" in str(told.value)
    assert mostly("warm").numeric(unread={"warmth"}) == []


def test_missing_cells_speak_neither_for_nor_against_a_column_of_numbers() -> None:
    assert mostly(*["n/a"] * 500).numeric() == ["warmth"]
    assert mostly(*["warm"] * 30).numeric() == []


def test_numbers_with_a_decimal_comma_are_refused() -> None:
    table = Table("t.csv", "", {"t": ["21", *["21,5"] * 8]})
    with pytest.raises(SettingsError, match="column t, row 2: '21,5' has a decimal comma"):
        table.numeric()


def test_names_and_numbers_are_read_together_and_others_named_with_their_row() -> None:
    table = Table("t.csv", "", {"mode": ["on", " off ", "1", "NA", "auto"]})
    with pytest.raises(SettingsError, match=r"column mode, row 5: 'auto' is unknown; .* off, on"):
        table.coded("mode", {"off": 0, "on": 1})
    codes = table.coded("mode", {"off": 0, "on": 1, "auto": 2})
    np.testing.assert_array_equal(codes, [1, 0, 1, np.nan, 2])


def test_an_empty_column_has_no_classes_and_many_different_texts_are_none() -> None:
    table = Table("t.csv", "", {"empty": ["", "NA"], "x": ["1", "2"]})
    with pytest.raises(SettingsError, match="column empty is empty"):
        table.classes("empty")
    many = Table("t.csv", "", {"name": [f"n{i}" for i in range(201)]})
    with pytest.raises(SettingsError, match="201 different values, more than the 200"):
        many.classes("name")


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        Table.read(tmp_path / "x.csv")


def test_a_parquet_file_is_a_table_like_any(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet"
    path.write_bytes(encode_columns({"level": [2.5, None], "state": ["dry", "wet"]}))
    table = Table.read(path)
    np.testing.assert_array_equal(table.numbers("level"), [2.5, np.nan])
    assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_of_one_kind_are_read_below_each_other(tmp_path: Path) -> None:
    for name, rows in (("north.2026.csv", "1,a\n2,b\n"), ("south.csv", "3,c\n")):
        (tmp_path / name).write_text("x,y\n" + rows)
    table, names = read_all([tmp_path / "north.2026.csv", tmp_path / "south.csv"])
    assert {name: list(table.cells(name)) for name in table.columns} == {
        "x": ["1", "2", "3"],
        "y": ["a", "b", "c"],
    }
    assert table.at("x", 2) == f"{tmp_path}/south.csv: column x, row 1"
    assert names == ["north", "north", "south"]
    alone, _ = read_all([tmp_path / "south.csv"])
    assert alone.digest == Table.read(tmp_path / "south.csv").digest != table.digest


def test_files_of_two_kinds_and_empty_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    (tmp_path / "c.csv").write_text("x,y\n")
    with pytest.raises(SettingsError, match="different columns: y, z"):
        read_all([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(SettingsError, match=r"c\.csv has no rows"):
        read_all([tmp_path / "c.csv"])
