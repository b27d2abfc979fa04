"""What is known of the phones' rows before anything is learned, without any row of theirs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.phones import (
    CHANNELS,
    CLASSES,
    MIN_COUNT,
    Summary,
    User,
    folds,
    merged,
    read_users,
    split,
    summarise,
    telling,
)
from headwater_models.statistics.moments import moments_of


def user(seed: int, rows: int = MIN_COUNT, *, apart: tuple[int, ...] = ()) -> User:
    """Rows of noise; the channels in *apart* move with the activity."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % len(CLASSES)
    values = rng.normal(size=(rows, len(CHANNELS))).astype(np.float32)
    values[:, list(apart)] += 5.0 * labels[:, None].astype(np.float32)
    return User(f"user-{seed}", values, labels)


def summaries(*users: User) -> list[Summary]:
    found = [summarise(one) for one in users]
    assert None not in found
    return [summary for summary in found if summary is not None]


def test_rows_are_read_by_user_with_empty_cells_as_nan(tmp_path: Path) -> None:
    names = [channel.name for channel in CHANNELS]
    cells = [["?" if name == "XPEAK" else str(i) for name in names] for i in range(3)]
    lines = [",".join(["UNIQUE_ID", "user", *names, "class"])]
    for number, row, label in zip(
        ("10", "9", "10"), cells, ("Sitting", "Walking", "Jogging"), strict=True
    ):
        lines.append(",".join(["1", number, *row, label]))
    with gzip.open(tmp_path / "wisdm_features.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))

    nine, ten = read_users(tmp_path)

    assert (nine.name, ten.name) == ("user-9", "user-10")
    assert ten.labels.tolist() == [CLASSES.index("Sitting"), CLASSES.index("Jogging")]
    assert ten.values[:, 0].tolist() == [0, 2]
    assert np.isnan(ten.values[:, names.index("XPEAK")]).all()


def test_the_real_file_holds_what_its_readme_says(data_folder: Path) -> None:
    users = read_users(data_folder / "wisdm_v11")

    assert len(users) == 36
    assert sum(len(one.labels) for one in users) == 5_418
    assert sum(int(np.isnan(one.values).sum()) for one in users) == 615


@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 99))
def test_a_split_gives_each_row_to_one_side(rows: int, share: float, seed: int) -> None:
    values = np.arange(rows, dtype=np.float32)[:, None] * np.ones(43, np.float32)
    whole = User("one", values, np.arange(rows))

    first, second = split(whole, share, np.random.default_rng(seed))

    assert len(first.labels) == round(share * rows)
    assert sorted([*first.labels, *second.labels]) == list(range(rows))
    for part in (first, second):
        assert (part.values[:, 0] == part.labels).all()


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 99))
def test_each_user_is_held_out_once(users: int, parts: int, seed: int) -> None:
    dealt = folds(users, parts, np.random.default_rng(seed))

    assert sorted(np.concatenate(dealt).tolist()) == list(range(users))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_a_phone_with_few_rows_says_nothing_of_them() -> None:
    assert summarise(user(0, MIN_COUNT - 1)) is None
    assert summarise(user(0, MIN_COUNT)) is not None


def test_what_phones_say_together_is_what_the_pooled_rows_would_say() -> None:
    users = [user(seed, MIN_COUNT + seed) for seed in range(3)]

    together = merged(summaries(*users))

    pooled = moments_of(np.concatenate([one.values for one in users]))
    np.testing.assert_allclose(together, pooled, rtol=1e-9)


def test_a_phone_says_the_same_in_whatever_order_its_rows_came() -> None:
    one = user(0)
    backwards = User(one.name, one.values[::-1].copy(), one.labels[::-1].copy())

    said, again = summaries(one, backwards)

    np.testing.assert_allclose(said.moments, again.moments, atol=1e-12)
    np.testing.assert_allclose(said.within, again.within, rtol=1e-12)


def test_the_channels_that_move_with_the_activity_are_found() -> None:
    found = telling(summaries(user(0, apart=(3, 33)), user(1, apart=(3, 33))), threshold=0.8)

    assert found == (3, 33)


def test_a_channel_that_only_tells_users_apart_tells_no_activities_apart() -> None:
    one, other = user(0, apart=(3,)), user(1, apart=(3,))
    other.values[:, 7] += 1_000

    assert telling(summaries(one, other), threshold=0.8) == (3,)


def test_a_channel_that_never_varies_is_left_out() -> None:
    one = user(0, apart=(3,))
    one.values[:, 30] = 0

    assert 30 not in telling(summaries(one), threshold=0.8)


@pytest.mark.parametrize("name", ["XPEAK", "YPEAK", "ZPEAK"])
def test_missing_cells_count_for_nothing(name: str) -> None:
    channel = [c.name for c in CHANNELS].index(name)
    one = user(0)
    one.values[::2, channel] = np.nan

    (said,) = summaries(one)

    assert said.moments[0, channel] == MIN_COUNT / 2
    assert np.isfinite(said.within).all()
