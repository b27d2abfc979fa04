"""A backup holds what is needed, as it was at one moment, and nothing that is not."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tarfile
from pathlib import Path

import msgspec
import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater_coordinator.backup import CONTENTS, Contents, back_up
from tests.coordinator.world import World

pytestmark = pytest.mark.both_engines


def members(backup: Path) -> dict[str, bytes]:
    """Every member of a backup, in its order."""
    with tarfile.open(backup) as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name] = file.read()
    return found


def test_it_lists_every_file_with_its_hash_before_all_of_them(world: World, tmp_path: Path) -> None:
    back_up(world.home, tmp_path / "made.tar", world.now)
    found = members(tmp_path / "made.tar")
    assert next(iter(found)) == CONTENTS
    contents = msgspec.json.decode(found.pop(CONTENTS), type=Contents)
    assert (contents.made_ms, contents.sequence) == (world.now, 1)
    assert contents.release == world.bundle.version_id
    assert {n: hashlib.sha256(d).hexdigest() for n, d in found.items()} == {
        name: member.sha256 for name, member in contents.members.items()
    }


def test_keys_books_weights_settings_and_requests_are_in_it_and_logs_and_flower_are_not(
    world: World, tmp_path: Path
) -> None:
    (world.home.nodes / "a.pub").write_text("a key")
    world.home.requests.mkdir()
    (world.home.requests / "a.request").write_text("{}")
    (world.home.logs / "serverapp.log").write_text("words")
    (world.home.flower / "superlink.db").write_text("Flower's")
    found = set(back_up(world.home, tmp_path / "made.tar", world.now).members)
    assert {"coordinator.db", "coordinator.toml", "ca.crt", "nodes/a.pub"} < found
    assert {"keys/release.key", "keys/server.key", "requests/a.request"} < found
    assert {f"versions/{world.bundle.version_id}.safetensors", "bundle/manifest.json"} < found
    assert not any(name.startswith(("logs", "flower", "serverapp.lock")) for name in found)
    assert not any(name.endswith(("-wal", "-shm")) for name in found)


def test_only_its_owner_can_read_it(world: World, tmp_path: Path) -> None:
    back_up(world.home, tmp_path / "made.tar", world.now)
    assert (tmp_path / "made.tar").stat().st_mode & 0o777 == 0o600


def test_the_books_are_of_one_moment_while_the_coordinator_has_them_open(
    world: World, tmp_path: Path
) -> None:
    """What stands in the write-ahead log alone is in it."""
    world.join("a", "b")
    world.answer(task := world.waiting(wire.Kind.TRAIN)[0], world.update(task), world.vector())
    world.turn()
    back_up(world.home, tmp_path / "made.tar", world.now)
    (tmp_path / "books.db").write_bytes(members(tmp_path / "made.tar")["coordinator.db"])
    books = sqlite3.connect(tmp_path / "books.db")
    assert books.execute("SELECT count(*) FROM updates").fetchone() == (1,)
    assert books.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    books.close()


def test_a_version_that_is_removed_meanwhile_is_in_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = next(world.home.versions.iterdir())
    before = weights.read_bytes()
    add = tarfile.TarFile.addfile

    def prune(archive: tarfile.TarFile, entry: tarfile.TarInfo, source: io.BytesIO) -> None:
        weights.unlink(missing_ok=True)
        add(archive, entry, source)

    monkeypatch.setattr(tarfile.TarFile, "addfile", prune)
    back_up(world.home, tmp_path / "made.tar", world.now)
    assert members(tmp_path / "made.tar")[f"versions/{weights.name}"] == before


def test_nothing_of_the_work_is_left_behind(world: World, tmp_path: Path) -> None:
    before = sorted(world.home.root.iterdir()), sorted(tmp_path.iterdir())
    back_up(world.home, tmp_path / "made.tar", world.now)
    assert sorted(world.home.root.iterdir()) == before[0]
    assert set(tmp_path.iterdir()) - set(before[1]) == {tmp_path / "made.tar"}


def test_a_file_that_is_there_is_never_overwritten(world: World, tmp_path: Path) -> None:
    (tmp_path / "made.tar").write_text("precious")
    with pytest.raises(StorageError, match="is there already"):
        back_up(world.home, tmp_path / "made.tar", world.now)
    assert (tmp_path / "made.tar").read_text() == "precious"


def test_a_link_where_a_file_belongs_is_named(world: World, tmp_path: Path) -> None:
    (world.home.keys / "other.key").symlink_to("/etc/hostname")
    with pytest.raises(StorageError, match=r"other\.key is a symbolic link"):
        back_up(world.home, tmp_path / "made.tar", world.now)
    assert not (tmp_path / "made.tar").exists()


def test_a_folder_that_cannot_be_written_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        back_up(world.home, tmp_path / "nowhere" / "made.tar", world.now)
