from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.blocks import ReservedBlocks, block_end
from tests.agent.model import MINUTE, manifest

DAY = range(0, 24 * 60 * MINUTE, MINUTE)


def test_without_a_share_everything_is_learned_from() -> None:
    blocks = ReservedBlocks(manifest(share=0.0))
    assert {blocks.stretch("tank-1", time)[2] for time in DAY} == {"learn"}


def test_of_each_stream_no_more_than_the_newest_is_kept_in_mind() -> None:
    blocks = ReservedBlocks(manifest(share=0.3))
    assert {blocks.stretch(f"tank-{n}", time)[2] for n in range(3) for time in DAY} > {
        "learn",
        "judge",
    }
    assert len(blocks._newest) == 3


def test_about_the_share_of_all_blocks_is_reserved() -> None:
    blocks = ReservedBlocks(manifest(share=0.25, horizon=1, window=1))
    judged = sum(
        blocks.stretch(f"tank-{n}", hour * 60 * MINUTE)[2] == "judge"
        for n in range(50)
        for hour in range(100)
    )
    assert 0.2 < judged / 5_000 < 0.3


def test_the_choice_is_the_same_on_every_device_and_differs_by_stream() -> None:
    one, two = (ReservedBlocks(manifest(share=0.3)) for _ in range(2))
    uses = [one.stretch("tank-1", time)[2] for time in DAY]
    assert uses == [two.stretch("tank-1", time)[2] for time in DAY]
    assert uses != [one.stretch("tank-2", time)[2] for time in DAY]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(10, 90))
def test_what_is_learned_lies_window_and_horizon_away_from_what_is_judged(
    window: int, horizon: int, block: int
) -> None:
    blocks = ReservedBlocks(manifest(share=0.3, window=window, horizon=horizon, block=block))
    uses = [blocks.stretch("tank-1", time)[2] for time in DAY]
    judged = [i for i, use in enumerate(uses) if use == "judge"]
    for i in judged:
        around = uses[max(i - window - horizon, 0) : i + window + horizon + 1]
        assert "learn" not in around


def test_the_end_of_a_block_is_after_every_time_in_it() -> None:
    hourly = manifest(block=60)
    assert block_end(hourly, 0) == block_end(hourly, 59 * MINUTE) == 60 * MINUTE


@given(st.lists(st.integers(0, 4 * 24 * 60), min_size=1), st.integers(1, 8))
def test_what_was_said_before_makes_no_difference(minutes: list[int], horizon: int) -> None:
    blocks = ReservedBlocks(manifest(share=0.3, horizon=horizon))
    for minute in minutes:
        afresh = ReservedBlocks(manifest(share=0.3, horizon=horizon))
        assert (
            blocks.stretch("tank", minute * MINUTE)[2] == afresh.stretch("tank", minute * MINUTE)[2]
        )
