"""Of a message that nobody can use the beginning is kept, whatever it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.objects import Vector
from headwater_coordinator.excerpt import LONGEST, Excerpt


def test_fields_and_a_vector_are_joined_as_they_were_sent() -> None:
    vector = np.array([1.5, np.nan], np.float32)
    found = Excerpt.of(b"fields", vector)
    assert found == Excerpt(b"fields" + vector.tobytes(), 14)


def test_what_is_too_long_is_cut_and_its_length_known() -> None:
    found = Excerpt.of(b"x" * 10, np.zeros(LONGEST, np.float32), b"y" * 5)
    assert len(found.content) == LONGEST
    assert found.nbytes == 4 * LONGEST + 15
    assert found.content.startswith(b"x" * 10 + bytes(4))


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(0, np.float32),
        np.zeros((), np.float64),
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(6, dtype=np.float32)[::2],
    ],
)
def test_a_vector_of_any_form_is_taken(vector: Vector) -> None:
    assert Excerpt.of(vector) == Excerpt(vector.tobytes(), vector.nbytes)


def test_of_nothing_nothing_is_kept() -> None:
    assert Excerpt.of() == Excerpt(b"", 0)
