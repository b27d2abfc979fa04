from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater_coordinator.live import EVERY_MS, Board, Live, read_live

LIVE = Live(
    discipline="rounds", phase="waiting", round=1, asked=0, open=0, accepted=0, wanted=2, online=3
)
LATER = msgspec.structs.replace(LIVE, round=2)


def test_what_is_shown_can_be_read(tmp_path: Path) -> None:
    board = Board(tmp_path / "live.json")
    board.show(LIVE, 0)
    assert read_live(tmp_path / "live.json") == LIVE


def test_the_file_is_replaced_for_a_change_and_not_too_often(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    board = Board(path)
    board.show(LIVE, 0)
    board.show(LATER, EVERY_MS - 1)
    assert read_live(path) == LIVE
    board.show(LATER, EVERY_MS)
    assert read_live(path) == LATER

    path.unlink()
    board.show(LATER, 9 * EVERY_MS)
    assert not path.exists(), "nothing changed"


def test_a_disk_that_refuses_ends_nothing(tmp_path: Path) -> None:
    Board(tmp_path / "missing" / "live.json").show(LIVE, 0)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}"])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "live.json"
    assert read_live(path) is None
    path.write_bytes(content)
    assert read_live(path) is None
