from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from headwater_agent.events import Prediction
from headwater_agent.predictions import Predictions


def prediction(number: int) -> Prediction:
    """Differs in everything from that of another number."""
    said = np.full((3, 2), number, np.float32)
    return Prediction(
        f"p{number}",
        f"tank-{number % 3}",
        number,
        f"v{number % 2}",
        said,
        "ok" if number % 4 else "degraded",
        number + 1,
        "personal" if number % 5 else "released",
        (float(number), number + 0.5),
        number % 3 == 0,
        said + 1 if number % 2 else None,
    )


def plain(made: Prediction) -> tuple[Any, ...]:
    return tuple(
        value.tolist() if isinstance(value, np.ndarray) else value for value in astuple(made)
    )


def without_beside(made: Prediction) -> tuple[Any, ...]:
    return plain(made)[:-1]


numbers = st.lists(st.integers(0, 99), max_size=12)


@given(numbers)
def test_what_is_laid_out_in_columns_can_be_read_one_by_one(some: list[int]) -> None:
    made = [prediction(2 * number + 1) for number in some]
    columns = Predictions.of(made)
    assert len(columns) == len(made)
    assert list(map(plain, columns)) == list(map(plain, made))
    assert [plain(columns[i]) for i in range(len(made))] == list(map(plain, made))
    assert Predictions.of(columns) is columns


@given(st.lists(numbers, max_size=5))
def test_pieces_are_joined_in_their_order(pieces: list[list[int]]) -> None:
    made = [[prediction(number) for number in piece] for piece in pieces]
    joined = Predictions.join([Predictions.of(made[0]), *made[1:]] if made else [])
    expected = [without_beside(one) for piece in made for one in piece]
    assert list(map(without_beside, joined)) == expected


@given(numbers, st.data())
def test_some_are_taken_in_the_order_given(some: list[int], data: st.DataObject) -> None:
    made = [prediction(number) for number in some]
    places = data.draw(
        st.lists(st.sampled_from(range(len(made))), max_size=9) if made else st.just([])
    )
    taken = Predictions.of(made).take(np.array(places, np.intp))
    assert list(map(without_beside, taken)) == [without_beside(made[i]) for i in places]
    part = slice(1, 4)
    assert list(map(without_beside, Predictions.of(made)[part])) == list(
        map(without_beside, made[part])
    )


def test_what_has_nothing_beside_it_says_nothing_there() -> None:
    assert Predictions.of([prediction(2), prediction(4)]).beside is None
    joined = Predictions.join([[prediction(2)], [prediction(1), prediction(4)]])
    assert joined.beside is not None
    assert np.isnan(joined.beside[:, 0, 0]).tolist() == [True, False, True]
    assert joined.beside[1].tolist() == prediction(1).beside.tolist()  # type: ignore[union-attr]


def test_of_which_the_personal_model_is_served_is_told() -> None:
    assert Predictions.of([prediction(0), prediction(1)]).personal.tolist() == [False, True]
    assert Predictions.of([prediction(1), prediction(2)]).personal.tolist() == [True, True]
    assert Predictions.of(()).personal.tolist() == []
