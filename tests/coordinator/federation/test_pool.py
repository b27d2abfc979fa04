"""A pool is a set from which everyone is drawn alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.federation.pool import Pool


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde"))), st.integers(0, 9))
def test_it_holds_what_a_set_holds(steps: list[tuple[bool, str]], count: int) -> None:
    pool, model = Pool(), set[str]()
    for add, name in steps:
        pool.add(name) if add else pool.discard_all([name])
        (model.add if add else model.discard)(name)
        assert {n for n in "abcde" if n in pool} == model
    drawn = pool.sample(count, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == min(count, len(model))
    assert set(drawn) <= model


def test_everyone_is_drawn_as_often() -> None:
    pool, rng = Pool(), np.random.default_rng(1)
    for name in "abcdefgh":
        pool.add(name)
    pool.discard_all(["c", "i"])
    drawn = Counter(name for _ in range(7_000) for name in pool.sample(2, rng))
    assert set(drawn) == set("abdefgh")
    assert all(1_850 < count < 2_150 for count in drawn.values())
