from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.rivers.dotted import make
from headwater_agent.rivers.scalers import affine, is_scaler, read_scaler, write_scaler
from headwater_agent.rivers.settings import RiverPart

NAMES = ["a", "b", "still"]
VALUES = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda value: round(value, 3))
ROWS = st.lists(st.tuples(VALUES, VALUES, st.just(4.0)), min_size=1, max_size=20)
SCALERS = st.sampled_from(
    [("StandardScaler", {}), ("StandardScaler", {"with_std": False}), ("MinMaxScaler", {})]
)


def scaler(name: str, arguments: dict[str, Any] | None = None) -> Any:
    part = RiverPart(model=f"river.preprocessing.{name}", arguments=arguments or {})
    return make(part, "learn.river")


@given(SCALERS, ROWS)
def test_a_scaler_is_a_line_through_each_input(
    kind: tuple[str, dict[str, Any]], rows: list[tuple[float, ...]]
) -> None:
    learned = scaler(*kind)
    for row in rows:
        learned.learn_one(dict(zip(NAMES, row, strict=True)))
    scale, offset = affine(learned, NAMES)
    want = list(learned.transform_one(dict(zip(NAMES, rows[-1], strict=True))).values())
    np.testing.assert_allclose(scale * (np.array(rows[-1]) - offset), want, rtol=1e-9, atol=1e-12)


@given(SCALERS, ROWS, ROWS)
def test_what_was_read_and_written_goes_on_in_step(
    kind: tuple[str, dict[str, Any]],
    before: list[tuple[float, ...]],
    after: list[tuple[float, ...]],
) -> None:
    one, other = scaler(*kind), scaler(*kind)
    for row in before:
        one.learn_one(dict(zip(NAMES, row, strict=True)))
    write_scaler(other, read_scaler(one))
    for row in after:
        x = dict(zip(NAMES, row, strict=True))
        one.learn_one(x)
        other.learn_one(x)
        assert one.transform_one(x) == other.transform_one(x)


@pytest.mark.parametrize("name", ["StandardScaler", "MinMaxScaler"])
def test_a_scaler_of_a_rolling_window_is_more_than_numbers(name: str) -> None:
    assert is_scaler(scaler(name))
    assert not is_scaler(scaler(name, {"window_size": 5}))
    assert not is_scaler(scaler("RobustScaler"))
