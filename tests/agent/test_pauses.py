"""What the owner paused is a file that survives everything but its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_agent.pauses import FILE, PARTS, Part, read_pauses, write_pauses


@pytest.mark.parametrize("parts", [(), ("learning",), ("federation",), PARTS])
def test_what_is_paused_is_read_again(tmp_path: Path, parts: tuple[Part, ...]) -> None:
    write_pauses(tmp_path, PARTS)
    write_pauses(tmp_path, parts)
    assert read_pauses(tmp_path) == parts


def test_where_nothing_is_paused_there_is_no_file(tmp_path: Path) -> None:
    assert read_pauses(tmp_path) == ()
    write_pauses(tmp_path, ("learning",))
    write_pauses(tmp_path, ())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"paused": ["all"]}', b"\xff" * 9_999])
def test_a_damaged_file_pauses_everything(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert read_pauses(tmp_path) == PARTS


def test_others_may_read_it(tmp_path: Path) -> None:
    """The federation client is another user."""
    write_pauses(tmp_path, ("federation",))
    assert (tmp_path / FILE).stat().st_mode & 0o044 == 0o044


def test_a_folder_that_cannot_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="run this as the agent's user"):
        write_pauses(tmp_path / "missing", ("learning",))
