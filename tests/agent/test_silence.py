"""A stream falls silent once, and speaks again once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_agent.silence import Silence, Turn, usual_silence
from headwater_models.manifest import Grid


def turns(silence: Silence, *passed: tuple[float, str]) -> list[Turn]:
    return [turn for seconds, heard in passed for turn in silence.passed(seconds, heard)]


def test_a_stream_falls_silent_once_and_speaks_again_once() -> None:
    silence = Silence(10)
    assert turns(silence, (1, "ab"), (9, "b"), (0.5, "")) == []
    assert turns(silence, (0.5, "b")) == [Turn("a", False, 10)]
    assert list(silence.silent) == ["a"]
    assert turns(silence, (5, "b"), (5, "b")) == []
    assert turns(silence, (2, "ab")) == [Turn("a", True, 22)]
    assert turns(silence, (9, "b"), (1, "b")) == [Turn("a", False, 10)]


def test_a_stream_that_was_never_heard_of_is_not_missed() -> None:
    assert turns(Silence(10), (100, ""), (100, "")) == []


def test_silence_may_go_unnoticed() -> None:
    silence = Silence(0)
    assert turns(silence, (1, "a"), (10**9, ""), (1, "a")) == []


def test_usually_it_takes_ten_periods_or_the_gap_that_ends_a_window() -> None:
    def usual(period: int, gap: int) -> int:
        return usual_silence(Grid(period=Duration(period), max_gap=Duration(gap)))

    assert usual(1_000, 5_000) == 10_000
    assert usual(1_000, 60_000) == 60_000


_steps = st.lists(st.tuples(st.integers(0, 7), st.sets(st.sampled_from("abc"))), max_size=60)


@given(_steps)
def test_who_is_silent_follows_from_when_each_was_heard(
    steps: list[tuple[int, set[str]]],
) -> None:
    silence, now = Silence(10), 0
    heard: dict[str, int] = {}
    said: dict[str, bool] = {}
    for seconds, names in steps:
        now += seconds
        heard |= dict.fromkeys(names, now)
        for turn in silence.passed(seconds, names):
            assert said.get(turn.stream, True) != turn.speaks
            said[turn.stream] = turn.speaks
        expected = {name for name, at in heard.items() if now - at >= 10}
        assert set(silence.silent) == expected
        assert {name for name, speaks in said.items() if not speaks} == expected
