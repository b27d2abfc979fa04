from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.split import LEAST, Split, chronological, grouped, learnable
from tests.models.offline.tables import MINUTE, manifest, recording


def series(count: int, streams: int = 1, start: int = 0) -> Examples:
    made = [
        recording(
            list(range(start, start + count)),
            [[i, 1] for i in range(count)],
            stream=f"s{stream}",
        )
        for stream in range(streams)
    ]
    return cut_examples([replace(r, group=f"g{i % 4}") for i, r in enumerate(made)], manifest())


def reach(examples: Examples, part: np.ndarray) -> tuple[int, int]:
    """The first and the last time that windows and labels of a part touch."""
    times = examples.times[part]
    return int(times.min()) - MINUTE, int(times.max()) + MINUTE


@given(st.integers(200, 600), st.floats(0.1, 0.3), st.floats(0.1, 0.3))
def test_no_row_of_one_part_reaches_into_another(
    count: int, validation: float, test: float
) -> None:
    examples = series(count, streams=2)
    split = chronological(examples, manifest(), validation=validation, test=test)
    parts = [reach(examples, part) for part in (split.train, split.validation, split.test)]
    assert parts[0][1] < parts[1][0]
    assert parts[1][1] < parts[2][0]
    usable = np.isfinite(examples.labels).sum()
    assert len(split.test) == pytest.approx(test * usable, abs=6)
    assert len(split.validation) == pytest.approx(validation * usable, abs=12)


def test_the_cut_is_the_same_for_all_streams() -> None:
    early, late = series(200), series(200, start=100)
    both = replace(
        early,
        names=("a", "b"),
        groups=("a", "b"),
        cells=np.concatenate([early.cells, late.cells]),
        ends=np.concatenate([early.ends, late.ends + len(early.cells)]),
        times=np.concatenate([early.times, late.times]),
        stream=np.repeat([0, 1], [len(early), len(late)]),
        labels=np.concatenate([early.labels, late.labels]),
        doubted=np.concatenate([early.doubted, late.doubted]),
    )
    split = chronological(both, manifest(), validation=0.2, test=0.2)
    assert both.times[split.train].max() < both.times[split.test].min()
    assert set(both.stream[split.test]) == {1}


def parts_of(examples: Examples, split: Split) -> list[set[str]]:
    return [
        {examples.groups[at] for at in examples.stream[part]}
        for part in (split.train, split.validation, split.test)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_lies_in_one_part_whole(seed: int) -> None:
    examples = series(100, streams=12)
    rng = np.random.default_rng(seed)
    split = grouped(examples, manifest(), validation=0.15, test=0.15, rng=rng)
    train, validation, test = parts_of(examples, split)
    assert train | validation | test == {"g0", "g1", "g2", "g3"}
    assert len(train) + len(validation) + len(test) == 4


def test_two_groups_are_too_few() -> None:
    examples = series(100, streams=2)
    with pytest.raises(SettingsError, match="at least three groups, not 2"):
        grouped(examples, manifest(), validation=0.2, test=0.2, rng=np.random.default_rng(0))


def test_a_part_that_is_too_small_is_named() -> None:
    with pytest.raises(SettingsError, match=f"fewer than {LEAST}"):
        chronological(series(60), manifest(), validation=0.1, test=0.1)
    unlabelled = replace(series(60), labels=np.full(59, np.nan, np.float32))
    with pytest.raises(SettingsError, match="No window has a label"):
        chronological(unlabelled, manifest(), validation=0.1, test=0.1)


def test_doubted_windows_and_known_anomalies_are_not_learned_from() -> None:
    examples = series(6)
    doubted = replace(examples, doubted=np.array([True, False, False, False, False]))
    assert learnable(doubted, manifest()).tolist() == [False, True, True, True, False]
    anomaly = manifest(task="anomaly", target="", horizon=Duration(0), loss="mse")
    labels = np.array([0, 1, np.nan, 0, 1], np.float32)
    found = learnable(replace(examples, labels=labels), anomaly)
    assert found.tolist() == [True, False, True, True, False]
