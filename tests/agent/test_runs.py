from __future__ import annotations

import doctest
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import runs as module
from headwater_agent.runs import runs


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_runs_lie_one_after_the_other_and_each_is_of_one_stream(streams: list[str]) -> None:
    found = [(name, streams[part]) for name, part in runs(streams)]
    assert found == [(name, list(run)) for name, run in groupby(streams)]


def test_the_example_holds() -> None:
    assert doctest.testmod(module) == (0, 1)
