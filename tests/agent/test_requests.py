"""Wishes wait in files, in order, until they are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import StorageError
from headwater_agent.quarantine import Wanted
from headwater_agent.requests import Clear, Forget, Reset, Warm, Wish, ask, read, waiting
from headwater_models.requested import Answer, settle

HISTORY = Warm.of(
    "north",
    np.array([1, 2], np.int64),
    np.array([[1, np.nan], [3, 4]], np.float32),
    np.array([np.nan, 5], np.float32),
)


def test_what_is_asked_waits_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    wishes: list[Wish] = [
        Reset("b"),
        Forget(),
        Clear(Wanted(stream="s", until=5)),
        HISTORY,
        Reset("a"),
    ]
    paths = [ask(tmp_path, wish) for wish in wishes]
    assert waiting(tmp_path) == paths
    assert [read(path) for path in paths] == wishes
    settle(paths[0], Answer(True, ""))
    assert ask(tmp_path, Forget()) == waiting(tmp_path)[-1]


def test_history_comes_back_as_it_was() -> None:
    times, values, labels = HISTORY.arrays(2)
    assert times.tolist() == [1, 2]
    assert np.array_equal(values, np.array([[1, np.nan], [3, 4]]), equal_nan=True)
    assert np.array_equal(labels, np.array([np.nan, 5]), equal_nan=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_history_of_other_channels_is_refused(channels: int) -> None:
    with pytest.raises(ValueError, match="reshape"):
        HISTORY.arrays(channels)


def test_history_with_too_few_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="0 labels for 2 times"):
        Warm("north", HISTORY.times, HISTORY.values, b"").arrays(2)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x81\xa4type\xa4Dont", b"{}"])
def test_a_request_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "000000001-x.request").write_bytes(content)
    assert [read(path) for path in waiting(tmp_path)] == [None]


def test_a_request_that_is_a_link_to_somewhere_else_is_none(tmp_path: Path) -> None:
    real = ask(tmp_path, Forget())
    link = tmp_path / "000000002-x.request"
    link.symlink_to(real)
    assert read(link) is None


def test_a_folder_that_cannot_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Run this as the agent's user"):
        ask(tmp_path / "missing", Forget())
