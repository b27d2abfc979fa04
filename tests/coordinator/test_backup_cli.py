"""The commands say what they did, and that there are secrets in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import StorageError
from tests.coordinator.test_cli import home, run

__all__ = ["home"]


def test_a_backup_says_that_it_holds_secrets(home: Path, tmp_path: Path) -> None:
    said = run("backup", str(tmp_path / "made.tar"), "--home", str(home))
    assert "release 1 " in said
    assert "private keys" in said
    assert (tmp_path / "made.tar").stat().st_mode & 0o777 == 0o600


def test_a_restore_says_what_is_not_in_it_and_what_comes_next(home: Path, tmp_path: Path) -> None:
    run("backup", str(tmp_path / "made.tar"), "--home", str(home))
    said = run("restore", str(tmp_path / "made.tar"), "--home", str(tmp_path / "again"))
    assert "forget those devices again" in said
    assert f"serve --home {tmp_path / 'again'}" in said
    assert "release" in run("status", "--home", str(tmp_path / "again"))


def test_a_folder_that_is_no_coordinators_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"it has no coordinator\.toml"):
        run("backup", str(tmp_path / "made.tar"), "--home", str(tmp_path))
