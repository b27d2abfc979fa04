from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from headwater.errors import StorageError, UnsupportedError
from headwater_agent.install import steps
from headwater_models.bundle import Bundle
from tests.conftest import skip_or_fail
from tests.models.bundles import tiny


def test_a_file_is_written_whole_into_folders_that_are_made(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "unit"
    step = steps.write(path, "[Unit]\n")
    assert step.says == f"write {path}"
    assert not path.exists()
    step.do()
    assert path.read_text() == "[Unit]\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    with pytest.raises(StorageError, match="etc/unit cannot be changed"):
        steps.write(tmp_path / "etc" / "unit", "").do()


def test_a_copied_model_can_be_read_by_everyone(tmp_path: Path) -> None:
    tiny().save(tmp_path / "source")
    before = os.umask(0o077)
    try:
        steps.copy_bundle(tmp_path / "source", tmp_path / "lib" / "model").do()
    finally:
        os.umask(before)
    assert Bundle.load(tmp_path / "lib" / "model").model_id == tiny().model_id
    for path in (tmp_path / "lib" / "model").iterdir():
        assert path.stat().st_mode & 0o044 == 0o044


def test_the_key_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        skip_or_fail("giving a folder away needs root")
    folder = tmp_path / "exchange"
    folder.mkdir()
    os.chown(folder, 12_345, 12_346)
    steps.make_device_key(folder).do()
    for name in ("node.key", "node.pub"):
        found = (folder / name).stat()
        assert (found.st_uid, found.st_gid) == (12_345, 12_346)
    assert os.geteuid() == 0


def test_a_link_that_the_folders_owner_put_there_leads_nowhere(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        skip_or_fail("giving a folder away needs root")
    folder = tmp_path / "exchange"
    folder.mkdir()
    target = tmp_path / "shadow"
    target.write_text("precious")
    (folder / "node.pub").symlink_to(target)
    os.chown(folder, 12_345, 12_346)
    with pytest.raises(StorageError):
        steps.make_device_key(folder).do()
    assert target.read_text() == "precious"


def test_files_folders_and_links_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("link", "folder", "missing"):
        steps.remove(tmp_path / name).do()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "data").exists()


def test_a_folder_is_removed_only_when_it_is_empty(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "file").touch()
    for name in ("empty", "full", "missing"):
        steps.remove_if_empty(tmp_path / name).do()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(UnsupportedError, match="`sh -c echo no; exit 3` failed: no"):
        steps.run("sh", "-c", "echo no; exit 3").do()
    with pytest.raises(UnsupportedError, match="failed: exit code 3"):
        steps.run("sh", "-c", "exit 3").do()


def test_a_program_that_is_missing_says_what_is_needed() -> None:
    with pytest.raises(UnsupportedError, match="needs a Linux with systemd"):
        steps.run("systemd-of-another-world").do()
