"""Files appear whole or not at all, and links, devices and large files are not followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from headwater.errors import BundleError, StorageError
from headwater_models.files import read_bounded, write_file, write_folder


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_file(file, b"12345")
    assert read_bounded(file, 5) == b"12345"
    with pytest.raises(BundleError, match="larger than the 4 bytes"):
        read_bounded(file, 4)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="symbolic link"):
        read_bounded(tmp_path / "link", 10)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="not a plain file"):
        read_bounded(tmp_path / "pipe", 10)


def test_what_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        read_bounded(tmp_path / "nothing", 10)


def test_writing_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_file(file, b"old")
    write_file(file, b"new", mode=0o600)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inside").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(target, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    write_folder(folder, {"one": b"1", "two": b"2"})
    write_folder(folder, {"two": b"22"})
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == {"two": b"22"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_finished_never_appears(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_folder(tmp_path / "b", {"one": b"1", "no/such/folder": b"2"})
    assert list(tmp_path.iterdir()) == []
