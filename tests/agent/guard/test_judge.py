"""Records of one stream, held against those before them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.judge import Judge, SavedJudge
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.units import conversion
from tests.agent.model import MINUTE

CHANNELS = 6
SENSORS = [Sensor(minimum=0, maximum=100, period=MINUTE, gap=60 * MINUTE)] * CHANNELS
GENTLE = GuardSettings()

Table = NDArray[np.float64]


def walk(records: int, seed: int, channels: int = CHANNELS, *, evenly: bool = False) -> Table:
    """Channels that wander through their range, each at a pace of its own.

    Long steps are rare, unless they go *evenly*: then the longest is as common as any.
    """
    rng = np.random.default_rng(seed)
    pace = np.geomspace(0.1, 1.0, channels)
    size = records, channels
    steps = (rng.uniform(-1, 1, size) if evenly else rng.standard_t(3, size)) * pace
    turned = np.abs((50 * rng.random(channels) + 25 + np.cumsum(steps, axis=0)) % 200 - 100)
    return np.asarray(np.round(turned, 2), np.float64)


def marked(table: Table, judge: Judge, start: int = 0) -> tuple[NDArray[np.bool_], Counter[str]]:
    """Return which cells were marked, and how often for which reason."""
    cells = np.zeros(table.shape, np.bool_)
    reasons: Counter[str] = Counter()
    for number, row in enumerate(table.tolist()):
        time = (start + number) * MINUTE
        for channel, reason in judge.judge(time, row).items():
            cells[number, channel] = True
            reasons[reason] += 1
    return cells, reasons


def learned(judge: Judge) -> tuple[bytes, bytes]:
    """The sizes of moves that it knows of."""
    saved = judge.save().moves
    return saved.counts, saved.fresh


def test_few_records_of_an_undisturbed_stream_are_marked() -> None:
    cells, _ = marked(walk(3000, 1), Judge(SENSORS, GENTLE))
    assert cells.any(axis=1).mean() < 0.02


def test_records_of_another_stream_are_marked_whole() -> None:
    table, other = walk(3000, 1), walk(3000, 2)
    rng = np.random.default_rng(3)
    strange = rng.random(3000) < 0.2
    table[strange] = other[rng.permutation(3000)[strange]]
    cells, _ = marked(table, Judge(SENSORS, GENTLE))
    assert cells[500:][strange[500:]].mean() > 0.9
    assert cells[500:][~strange[500:]].mean() < 0.03


def test_swapped_channels_are_marked() -> None:
    table = walk(3000, 4)
    rng = np.random.default_rng(5)
    swapped = rng.random(3000) < 0.2
    table[swapped] = rng.permuted(table[swapped], axis=1)
    cells, _ = marked(table, Judge(SENSORS, GENTLE))
    assert cells[500:][swapped[500:]].any(axis=1).mean() > 0.9


def test_a_single_value_that_jumps_and_comes_back_is_a_spike_and_the_rest_is_not_marked() -> None:
    table = walk(1000, 6)
    table[900, 0] = 100 - table[900, 0]
    judge = Judge(SENSORS, GENTLE)
    marked(table[:900], judge)
    assert judge.judge(900 * MINUTE, table[900].tolist()) == {0: "spike"}
    assert judge.judge(901 * MINUTE, table[901].tolist()) == {}


def test_a_stream_whose_level_has_changed_is_taken_up_with_its_second_record() -> None:
    table = walk(1200, 7)
    judge = Judge(SENSORS, GENTLE)
    marked(table[:1000], judge)
    table[1000:] = np.abs(100 - table[1000:])
    cells, _ = marked(table[1000:], judge, start=1000)
    assert cells[0].any()
    assert cells[2:].any(axis=1).mean() < 0.05


def test_strangers_from_the_first_record_on_do_not_become_normal() -> None:
    """A fifth of all records is drawn anywhere, and the guard knows nothing yet."""
    table = walk(400, 8)
    rng = np.random.default_rng(9)
    strange = rng.random(400) < 0.2
    table[strange] = rng.uniform(0, 100, (int(strange.sum()), CHANNELS))
    cells, _ = marked(table, Judge(SENSORS, GENTLE))
    assert cells[50:][strange[50:]].mean() > 0.8
    assert cells[50:][~strange[50:]].mean() < 0.05


def test_a_stranger_among_the_first_records_is_marked() -> None:
    rng, channels = np.random.default_rng(8), 12
    table = 50 + np.cumsum(rng.normal(0, 0.2, (6, channels)), axis=0)
    table[3] = rng.uniform(0, 100, channels)
    cells, _ = marked(table, Judge(SENSORS[:1] * channels, GENTLE))
    assert cells[3].all()
    assert not cells[[0, 1, 2, 4, 5]].any()


def test_one_channel_alone_is_judged_by_its_own_moves() -> None:
    table = walk(1000, 10, channels=1)
    table[900] = 100 - table[900]
    cells, reasons = marked(table, Judge(SENSORS[:1], GENTLE))
    assert cells[900]
    assert set(reasons) == {"spike"}
    assert cells.mean() < 0.01


def test_a_channel_that_stands_still_is_marked_stuck_and_the_others_go_on() -> None:
    table = walk(1000, 11)
    table[500:, 2] = table[499, 2]
    cells, reasons = marked(table, Judge(SENSORS, GENTLE))
    assert reasons["stuck"] > 400
    assert cells[600:, 2].all()
    assert cells[600:, [0, 1, 3, 4, 5]].mean() < 0.03


def test_stuck_channels_can_be_left_alone() -> None:
    table = walk(1000, 11)
    table[500:, 2] = table[499, 2]
    _, reasons = marked(table, Judge(SENSORS, GuardSettings(stuck=0)))
    assert not reasons["stuck"]


def test_a_value_out_of_range_is_named_and_nothing_of_its_record_is_learned() -> None:
    table = walk(300, 12)
    judge = Judge(SENSORS, GENTLE)
    marked(table, judge)
    before = learned(judge)
    assert judge.judge(300 * MINUTE, [1e6, *table[299].tolist()[1:]]) == {0: "range"}
    assert judge.judge(300 * MINUTE, [math.inf, *table[299].tolist()[1:]]) == {0: "infinite"}
    assert learned(judge) == before


def test_what_is_late_is_not_judged() -> None:
    table = walk(300, 13)
    judge = Judge(SENSORS, GENTLE)
    marked(table, judge)
    assert judge.judge(100 * MINUTE, [99.0, 1.0, 99.0, 1.0, 99.0, 1.0]) == {}


def test_what_a_record_says_nothing_of_is_not_judged() -> None:
    table = walk(300, 13)
    judge = Judge(SENSORS, GENTLE)
    marked(table, judge)
    row = [math.nan, *table[299].tolist()[1:]]
    assert judge.judge(300 * MINUTE, row) == {}
    assert judge.judge(301 * MINUTE, [math.nan] * CHANNELS) == {}


def test_a_channel_without_an_order_is_held_against_its_range_alone() -> None:
    judge = Judge([*SENSORS[1:], replace(SENSORS[0], ordered=False)], GENTLE)
    table = walk(600, 16)
    table[:, -1] = np.arange(600) % 2 * 100
    cells, _ = marked(table, judge)
    assert not cells[:, -1].any()
    assert judge.judge(600 * MINUTE, [*table[599].tolist()[:-1], 101.0]) == {5: "range"}


@given(cut=st.integers(0, 600))
@settings(max_examples=20)
def test_a_restart_goes_on_exactly_there(cut: int) -> None:
    table = walk(600, 14)
    table[::7] = walk(600, 15)[::7]
    straight, first, second = (Judge(SENSORS, GENTLE) for _ in range(3))
    expected, _ = marked(table, straight)
    before, _ = marked(table[:cut], first)
    encoded = msgspec.msgpack.encode(first.save())
    second.restore(msgspec.msgpack.decode(encoded, type=SavedJudge))
    after, _ = marked(table[cut:], second, start=cut)
    np.testing.assert_array_equal(np.concatenate([before, after]), expected)
    assert msgspec.msgpack.encode(second.save()) == msgspec.msgpack.encode(straight.save())


@st.composite
def troubled(draw: st.DrawFn) -> tuple[list[int], Table]:
    """Times and values of a stream to which everything happens now and then."""
    channels, seed = draw(st.sampled_from([1, 3, 4, 6, 12])), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    table, count = walk(700, seed, channels, evenly=draw(st.booleans())), 700
    rounded = draw(st.sampled_from([0, 1, channels]))
    table[:, :rounded] = np.round(table[:, :rounded], 1)  # often the same again
    times = np.arange(count) * MINUTE
    for share, trouble in (
        (0.01, lambda n: rng.uniform(0, 100, (n, channels))),
        (0.01, lambda n: np.where(rng.random((n, channels)) < 0.4, np.nan, 50.0)),
        (0.005, lambda n: np.full((n, channels), 1e6)),
        (0.002, lambda n: np.full((n, channels), -np.inf)),
    ):
        at = rng.random(count) < share * draw(st.integers(0, 3))
        cells = at[:, None] & (rng.random(table.shape) < draw(st.sampled_from([0.3, 1.0])))
        table[cells] = trouble(count)[cells]
    for start in rng.integers(0, count, draw(st.integers(0, 5))):
        table[start : start + 40, rng.integers(channels)] = table[start, 0]
    for start in rng.integers(0, count, draw(st.integers(0, 5))):
        times[start:] += int(rng.integers(-2, 90)) * MINUTE // 2
    return times.tolist(), table.astype(np.float32).astype(np.float64)


@given(
    stream=troubled(),
    cuts=st.sets(st.integers(1, 699), max_size=8),
    ordered=st.booleans(),
    strict=st.booleans(),
    gap=st.sampled_from([1, 2, 60]),
)
@settings(max_examples=100, deadline=None)
def test_records_are_judged_the_same_however_they_are_cut_into_batches(
    stream: tuple[list[int], Table], cuts: set[int], ordered: bool, strict: bool, gap: int
) -> None:
    times, table = stream
    plain = replace(SENSORS[0], gap=gap * MINUTE)
    inches = replace(plain, foreign=(conversion("in", "cm"),))
    sensors = [inches, *[plain] * (table.shape[1] - 2), replace(plain, ordered=ordered)]
    chosen = GuardSettings(cell=4, row=0.5, stuck=1) if strict else GENTLE
    alone, together = (Judge(sensors[-table.shape[1] :], chosen) for _ in range(2))
    for start, end in pairwise([0, *sorted(cuts), len(times)]):
        rows = table[start:end].tolist()
        judged = [alone.judge(*record) for record in zip(times[start:end], rows, strict=True)]
        found = together.judge_all(times[start:end], table[start:end].T.copy())
        assert found == {place: marks for place, marks in enumerate(judged) if marks}
        encoded = [msgspec.msgpack.encode(one.save()) for one in (alone, together)]
        assert encoded[0] == encoded[1]


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("decimals", [1, 2])
def test_records_of_which_many_are_left_out_are_judged_the_same_together(
    channels: int, decimals: int
) -> None:
    table = np.round(walk(3000, channels, channels, evenly=True), decimals)
    alone, together = (Judge(SENSORS[:channels], GENTLE) for _ in range(2))
    times = [number * MINUTE for number in range(3000)]
    one_by_one = [alone.judge(*record) for record in zip(times, table.tolist(), strict=True)]
    found = together.judge_all(times, table.T.copy())
    assert found == {place: marks for place, marks in enumerate(one_by_one) if marks}
    encoded = [msgspec.msgpack.encode(one.save()) for one in (alone, together)]
    assert encoded[0] == encoded[1]


def test_what_is_of_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="not of 5 channels"):
        Judge(SENSORS[1:], GENTLE).restore(Judge(SENSORS, GENTLE).save())
