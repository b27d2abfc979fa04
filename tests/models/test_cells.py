from __future__ import annotations

import numpy as np
import pytest

from headwater_models.cells import (
    floats,
    has_decimal_comma,
    is_missing,
    is_number,
    number,
    share,
    texts,
)


def test_cells_are_numbers_where_all_that_are_there_are() -> None:
    np.testing.assert_array_equal(floats(texts(["1", " 2.5 ", "-1e3"])), [1, 2.5, -1000])
    np.testing.assert_array_equal(floats(texts(["1", "", " NA ", "N/A", "?"])), [1] + [np.nan] * 4)
    assert floats(texts(["1", "warm"])) is None


def test_cells_that_are_an_array_already_stay_it() -> None:
    cells = texts(["a", "longer than what is kept inline"])
    assert texts(cells) is cells
    assert list(cells) == ["a", "longer than what is kept inline"]


def test_one_cell_is_a_number_missing_or_neither() -> None:
    assert number("7") == 7
    assert np.isnan(number("NULL"))
    with pytest.raises(ValueError, match="warm"):
        number("warm")
    assert [is_missing(cell) for cell in ("", " nan", "0")] == [True, True, False]
    assert [is_number(cell) for cell in ("1e3", "x", "1,5")] == [True, False, False]
    assert [has_decimal_comma(cell) for cell in ("1,5", "1.5", "1,2,3", ",")] == [
        True,
        False,
        False,
        False,
    ]


def test_a_share_is_of_the_cells_that_are_there() -> None:
    assert share(texts(["1", "2", "x", "", "NA", "1"]), is_number) == 0.75
    assert share(texts(["", ""]), is_number) == 0
