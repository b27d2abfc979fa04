"""A restored coordinator goes on from the books as they were, numbered above all given since."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import BundleError, HeadwaterError, SettingsError, StorageError
from headwater_coordinator.audit import audit, prove
from headwater_coordinator.backup import CONTENTS, Contents, Member, back_up
from headwater_coordinator.database import Database
from headwater_coordinator.home import Home
from headwater_coordinator.location import SQLITE
from headwater_coordinator.receipts import SPAN
from headwater_coordinator.restore import restore
from headwater_coordinator.status import read_status
from headwater_models.keys import SigningKey
from headwater_models.signing import VersionStatement, check_follows, verify_version
from tests.coordinator.test_backup import members
from tests.coordinator.world import World
from tests.postgresql import PostgresqlServer


@pytest.fixture
def backup(world: World, tmp_path: Path) -> Path:
    """Of a coordinator that has released once."""
    release(world, 0.5)
    back_up(world.home, tmp_path / "made.tar", world.now)
    return tmp_path / "made.tar"


def release(world: World, value: float) -> None:
    """Let the fleet release once more."""
    before = world.status.sequence
    world.join("a", "b")
    for _ in range(5):
        if world.status.sequence > before:
            break
        world.take_release()
        world.train_all(value)
        world.judge_all()
        world.turn(2_000)
    world.take_release()
    assert world.status.sequence > before


@pytest.fixture
def restored(world: World, backup: Path, tmp_path: Path) -> Iterator[World]:
    """The world, its folder lost after two more releases, and restored from the backup."""
    release(world, 0.25)
    release(world, 0.125)
    world.close()
    world.home.root.rename(tmp_path / "lost")
    restore(backup, world.home, world.now)
    world.restart()
    yield world
    world.home.root.rename(tmp_path / "restored")


def test_it_brings_back_the_release_and_the_updates(
    world: World, backup: Path, tmp_path: Path
) -> None:
    before = world.status
    restore(backup, Home(tmp_path / "again"), world.now)
    with Database(tmp_path / "again" / "coordinator.db") as database:
        state = database.load()
    assert state.release.name == before.release
    assert {device.name for device in state.devices.values()} == {"a", "b"}
    assert all(device.merged == device.taken == 1 for device in state.devices.values())
    for path in world.home.versions.iterdir():
        assert (tmp_path / "again" / "versions" / path.name).read_bytes() == path.read_bytes()


def test_devices_that_are_past_the_backup_take_its_release_and_the_next(restored: World) -> None:
    """They hold sequence 4 of a branch that is lost, and refuse all that is not above it."""
    held = _statement(restored, "lost")
    assert held.sequence == 4
    back = _statement(restored, "home")
    check_follows(held, back)
    assert (back.kind, back.version) == ("rollback", restored.status.release)
    release(restored, 0.75)
    after = _statement(restored, "home")
    check_follows(back, after)
    assert after.sequence == back.sequence + 1


def _statement(world: World, folder: str) -> VersionStatement:
    books = sqlite3.connect(world.home.root.parent / folder / "coordinator.db")
    query = "SELECT statement FROM versions WHERE kind = 'release' ORDER BY sequence DESC"
    (statement,) = books.execute(query).fetchone()
    books.close()
    return verify_version(statement, trusted=world.bundle.verify()[0])


def test_a_device_of_the_lost_branch_is_handed_the_restored_release(restored: World) -> None:
    restored.mail.online = {"SHA256:a"}
    restored.turn()
    (task,) = restored.waiting(wire.Kind.CHECK_IN)
    ahead = restored.checked_in(task, version="f" * 64)
    restored.answer(task, msgspec.structs.replace(ahead, sequence=4))
    restored.turn(1_000)
    restored.turn(1_000)
    (offer,) = restored.waiting(wire.Kind.RELEASE)
    asked = wire.decode_task(offer.fields)
    assert isinstance(asked, wire.Release)
    assert asked.version == restored.status.release
    statement = verify_version(asked.statement, trusted=restored.bundle.verify()[0])
    assert statement.sequence == restored.status.sequence > 4


def test_the_same_backup_restored_later_numbers_higher_again(backup: Path, tmp_path: Path) -> None:
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    restore(backup, first, 1_800_000_000_000)
    restore(backup, second, 1_800_000_060_000)
    sequences = []
    for home in (first, second):
        with Database(home.database) as database:
            sequences.append(database.load().release.sequence)
    assert sequences == [1_800_000_000, 1_800_000_060]


def test_a_pending_update_is_there_and_as_fresh_as_it_was(world: World, tmp_path: Path) -> None:
    release(world, 0.5)
    world.turn(61_000)
    task = world.waiting(wire.Kind.TRAIN)[0]
    world.answer(task, world.update(task), world.vector())
    world.turn()
    assert world.status.updates["accepted"] == 1
    back_up(world.home, tmp_path / "made.tar", world.now)
    restore(tmp_path / "made.tar", Home(tmp_path / "again"), world.now)
    with Database(tmp_path / "again" / "coordinator.db") as database:
        state = database.load()
    (pending,) = state.pending.values()
    assert state.staleness(pending.base) == 0


def test_a_candidate_that_waits_is_numbered_after_the_release(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    world.train_all()
    back_up(world.home, tmp_path / "made.tar", world.now)
    restore(tmp_path / "made.tar", Home(tmp_path / "again"), world.now)
    with Database(tmp_path / "again" / "coordinator.db") as database:
        state = database.load()
    assert state.candidate is not None
    assert state.candidate.sequence == state.release.sequence + 1
    trusted = world.bundle.verify()[0]
    statement = verify_version(state.candidate.statement, trusted=trusted)
    assert (statement.kind, statement.sequence) == ("candidate", state.candidate.sequence)


def test_no_receipt_has_a_number_that_was_given_before(restored: World) -> None:
    first = restored.status.sequence
    before = receipts(restored)
    release(restored, 0.75)
    given = receipts(restored) - before
    assert min(given) > first * SPAN
    assert wire.Count.__metadata__[0].le > max(given)  # type: ignore[attr-defined]


def test_who_is_restored_from_the_same_backup_again_repeats_no_number(
    world: World, backup: Path, tmp_path: Path
) -> None:
    given: list[set[int]] = []
    for name in ("first", "second"):
        world.now += 1_000
        world.close()
        world.home.root.rename(tmp_path / f"before-{name}")
        restore(backup, world.home, world.now)
        world.restart()
        before = receipts(world)
        for value in (0.25, 0.125, 0.75):
            release(world, value)
        given.append(receipts(world) - before)
    assert len(given[0]) > 3, "more than there are seconds between the restores"
    assert max(given[0]) < min(given[1])


def test_it_is_in_the_chain_of_decisions_which_holds(restored: World) -> None:
    release(restored, 0.75)
    assert prove(restored.home).complaints == []
    assert ("rollback", "a restore") in {(one.kind, one.by) for one in audit(restored.home)}


def receipts(world: World) -> set[int]:
    """The numbers of the receipts in the books."""
    books = sqlite3.connect(world.home.database)
    numbers = {number for (number,) in books.execute("SELECT number FROM receipts")}
    books.close()
    return numbers


def test_keys_are_for_the_owner_alone(world: World, backup: Path, tmp_path: Path) -> None:
    restore(backup, Home(tmp_path / "again"), world.now)
    keys = tmp_path / "again" / "keys"
    assert keys.stat().st_mode & 0o077 == 0
    assert (keys / "release.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "again" / "coordinator.db").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(world: World, backup: Path) -> None:
    before = world.home.settings.read_bytes()
    with pytest.raises(StorageError, match="is not empty; restore into a new folder"):
        restore(backup, world.home, world.now)
    assert world.home.settings.read_bytes() == before


def test_an_empty_folder_will_do(world: World, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert restore(backup, Home(tmp_path / "again"), world.now).sequence == 2


def test_a_clock_that_is_behind_the_backup_is_refused(
    world: World, backup: Path, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="The clock is behind"):
        restore(backup, Home(tmp_path / "again"), world.now - 1)
    assert not (tmp_path / "again").exists()


# What is damaged


Change = Callable[[dict[str, bytes]], None]


def rewritten(backup: Path, change: Change, *, listed: bool) -> None:
    """Change a backup's members; where *listed*, its list says so too."""
    found = members(backup)
    contents = msgspec.json.decode(found.pop(CONTENTS), type=Contents)
    change(found)
    if listed:
        described = {
            name: Member(len(data), hashlib.sha256(data).hexdigest())
            for name, data in found.items()
        }
        contents = msgspec.structs.replace(contents, members=described)
    with tarfile.open(backup, "w") as archive:
        for name, data in {CONTENTS: msgspec.json.encode(contents), **found}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def flip(name: str) -> Change:
    """Change one byte in the middle of a member."""

    def change(found: dict[str, bytes]) -> None:
        data = bytearray(found[name])
        data[len(data) // 2] ^= 1
        found[name] = bytes(data)

    return change


def put(name: str, data: bytes) -> Change:
    return lambda found: found.update({name: data})


def leave_out(prefix: str) -> Change:
    def change(found: dict[str, bytes]) -> None:
        for name in [name for name in found if name.startswith(prefix)]:
            del found[name]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flip("keys/release.key"), "'keys/release.key' has other bytes"),
        (leave_out("ca.crt"), "'ca.crt' is missing"),
        (put("keys/more", b""), "'keys/more' is not as listed"),
    ],
)
def test_what_is_not_as_listed_is_refused(
    backup: Path, tmp_path: Path, change: Change, words: str
) -> None:
    rewritten(backup, change, listed=False)
    refused(backup, tmp_path, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("../evil", b""), "'../evil' is no file of a coordinator"),
        (put("keys/../evil", b""), "is no file of a coordinator"),
        (put("/evil", b""), "'/evil' is no file of a coordinator"),
        (put("logs/evil", b""), "is no file of a coordinator"),
        (put("coordinator.toml", b"[front"), "cannot be restored: made.tar/coordinator.toml"),
        (put("coordinator.db", b"nonsense" * 999), "cannot be restored: made.tar/coordinator.db"),
        (leave_out("versions/"), "cannot be restored: made.tar/versions/"),
        (leave_out("keys/release.key"), "cannot be restored: made.tar/keys/release.key"),
    ],
)
def test_what_could_not_be_served_is_refused(
    backup: Path, tmp_path: Path, change: Change, words: str
) -> None:
    rewritten(backup, change, listed=True)
    refused(backup, tmp_path, words)


def refused(backup: Path, tmp_path: Path, words: str) -> None:
    """Restore, be told why not, and find nothing that was made."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(HeadwaterError, match=words):
        restore(backup, Home(tmp_path / "again"), 2_000_000_000_000)
    assert sorted(tmp_path.iterdir()) == before


def test_weights_under_another_versions_name_are_refused(
    world: World, backup: Path, tmp_path: Path
) -> None:
    def swap(found: dict[str, bytes]) -> None:
        one, other = sorted(name for name in found if name.startswith("versions/"))
        found[one], found[other] = found[other], found[one]

    rewritten(backup, swap, listed=True)
    with pytest.raises(BundleError, match="are others than its name says"):
        restore(backup, Home(tmp_path / "again"), world.now)


def test_a_release_key_that_the_publisher_does_not_know_is_refused(
    world: World, backup: Path, tmp_path: Path
) -> None:
    SigningKey.create(tmp_path / "other.key")
    rewritten(backup, put("keys/release.key", (tmp_path / "other.key").read_bytes()), listed=True)
    with pytest.raises(BundleError, match="does not delegate to the release key"):
        restore(backup, Home(tmp_path / "again"), world.now)


@pytest.mark.parametrize("data", [b"", b"not a tar", bytes(10_240)])
def test_what_is_no_backup_is_refused(world: World, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "odd.tar").write_bytes(data)
    with pytest.raises(StorageError, match="is no backup of a coordinator"):
        restore(tmp_path / "odd.tar", Home(tmp_path / "again"), world.now)


def test_a_backup_that_was_cut_off_is_refused(world: World, backup: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    whole = backup.read_bytes()
    last = whole.rstrip(b"\0")
    for length in chance.integers(1, len(last) - 1, 12):
        backup.write_bytes(whole[:length])
        with pytest.raises(StorageError):
            restore(backup, Home(tmp_path / "again"), world.now)
    assert not (tmp_path / "again").exists()


# Into the other engine


@pytest.mark.both_engines
def test_a_fleet_goes_on_with_its_books_in_the_other_engine(
    world: World, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    release(world, 0.5)
    world.turn(2_000)
    task = world.waiting(wire.Kind.TRAIN)[0]
    world.answer(task, world.update(task), world.vector())
    world.turn()
    before = world.status
    back_up(world.home, tmp_path / "made.tar", world.now)
    world.close()
    world.home.root.rename(tmp_path / "lost")
    other = server.url(server.new_schema()) if database == SQLITE else SQLITE
    restore(tmp_path / "made.tar", world.home, world.now, other)
    assert world.home.database.exists() == (other == SQLITE)
    world.restart()
    after = world.status
    assert (after.release, after.updates) == (before.release, before.updates)
    assert len(world.database.load().pending) == 1
    release(world, 0.75)
    assert prove(world.home).complaints == []


def test_books_that_are_in_the_way_are_left_alone_and_no_folder_is_made(
    world: World, backup: Path, tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    url = postgresql.url(postgresql.new_schema())
    restore(backup, Home(tmp_path / "first"), world.now, url)
    before = read_status(url)
    with pytest.raises(StorageError, match="holds books already; name an empty database"):
        restore(backup, Home(tmp_path / "second"), world.now + 5_000, url)
    assert read_status(url) == before
    assert not (tmp_path / "second").exists()


def test_a_place_that_cannot_be_used_is_refused_before_anything_is_moved(
    backup: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="holds a password"):
        restore(backup, Home(tmp_path / "again"), 2_000_000_000_000, "postgresql://me:x@db/books")
    assert not (tmp_path / "again").exists()
