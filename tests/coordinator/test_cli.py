"""The commands: each has help, says what it did, and fails with a sentence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from headwater import wire
from headwater.errors import (
    BundleError,
    HeadwaterError,
    NotNowError,
    SettingsError,
    StorageError,
    UnsupportedError,
)
from headwater_agent import nodekey
from headwater_coordinator.cli import app
from headwater_coordinator.enrolment import fingerprint, read_public_key
from headwater_coordinator.location import with_url
from headwater_coordinator.queries import DeviceView
from headwater_coordinator.requests import find_requests, read_request
from headwater_coordinator.status import HeldRow, Status
from headwater_models.requested import Answer
from tests.conftest import free_port
from tests.coordinator.test_contributions import solved
from tests.coordinator.world import World, name, save_bundle
from tests.models.bundles import tiny

RUNNER = CliRunner()


def run(*arguments: str) -> str:
    result = RUNNER.invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tiny().save(tmp_path / "bundle")
    folder = tmp_path / "home"
    port = str(free_port())
    run(
        "init", str(folder), "--bundle", str(tmp_path / "bundle"), "--superlink-port", port,
        "--host", "coordinator.example.org",
    )  # fmt: skip
    return folder


def test_every_command_has_help() -> None:
    command = typer.main.get_command(app)
    wanted = {"init", "serve", "enrol", "status", "forget", "readmit", "quarantine"}
    wanted |= {"devices", "rounds", "releases", "release", "rollback", "audit"}
    wanted |= {"renew", "backup", "restore", "group"}
    assert set(command.commands) == wanted  # type: ignore[attr-defined]
    for one in command.commands:  # type: ignore[attr-defined]
        assert run(one, "--help").count("\n") > 5


def test_init_says_what_devices_need_and_what_to_do_next(tmp_path: Path) -> None:
    tiny().save(tmp_path / "bundle")
    said = run("init", str(tmp_path / "home"), "--bundle", str(tmp_path / "bundle"))
    for words in ("home/bundle", "ca.crt", "publisher.key", "coordinator serve"):
        assert words in said.replace("\n", "")


def test_a_device_may_be_enrolled_before_the_coordinator_runs(home: Path, tmp_path: Path) -> None:
    nodekey.make_key(tmp_path / "device")
    said = run("enrol", str(tmp_path / "device" / "node.pub"), "--home", str(home))
    assert "will let them in when it does" in said
    assert len(list((home / "nodes").glob("*.pub"))) == 1


def test_a_device_may_be_enrolled_into_a_group(home: Path, tmp_path: Path) -> None:
    nodekey.make_key(tmp_path / "device")
    key = tmp_path / "device" / "node.pub"
    run("enrol", str(key), "--group", "north", "--home", str(home))
    (path,) = find_requests(home / "requests")
    request = read_request(path)
    assert (request.kind, request.group) == ("group", "north")
    assert request.node == fingerprint(read_public_key(key))

    nodekey.make_key(tmp_path / "other")
    other = str(tmp_path / "other" / "node.pub")
    with pytest.raises(SettingsError, match="group"):
        run("enrol", other, "--group", "North Sea", "--home", str(home))
    assert len(list((home / "nodes").glob("*.pub"))) == 1


def test_a_device_is_put_into_a_group_and_shown_in_it(world: World) -> None:
    there = ("--home", str(world.home.root))
    world.join("a", "b")
    assert "north" not in run("devices", *there)
    run("group", "a", "north", "--reason", "map", *there)
    world.turn()
    assert "north" in run("devices", *there)
    (a, _) = msgspec.json.decode(run("devices", *there, "--json"), type=list[DeviceView])
    assert (a.device, a.group) == ("a", "north")


def test_a_wrong_key_enrols_no_one(home: Path, tmp_path: Path) -> None:
    nodekey.make_key(tmp_path / "device")
    good, bad = tmp_path / "device" / "node.pub", tmp_path / "device" / "node.key"
    with pytest.raises(SettingsError):
        run("enrol", str(good), str(bad), "--home", str(home))
    assert list((home / "nodes").glob("*.pub")) == []


def test_the_status_of_a_new_coordinator_is_its_first_release(home: Path) -> None:
    status = msgspec.json.decode(run("status", "--home", str(home), "--json"), type=Status)
    assert (status.release, status.sequence) == (tiny().version_id, 1)
    assert (status.rounds, status.releases, status.devices) == (0, 0, [])


def test_the_status_shows_rounds_devices_and_refusals(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    said = run("status", "--home", str(world.home.root))
    assert "Release 2" in said
    assert "1 rounds and 1 releases" in said.replace("\n", " ")
    assert "2 merged, 0 pending" in said


def test_to_forget_a_device_leaves_a_request_for_the_next_coordinator(world: World) -> None:
    world.join("a", "b")
    there = ("--home", str(world.home.root), "--reason", "it was sold")
    for command in ("forget", "readmit"):
        said = run(command, "a", *there, "--json")
        answer = msgspec.json.decode(said, type=Answer)
        assert answer == Answer(False, "No coordinator runs; the next one does it first.")
        (path,) = find_requests(world.home.requests)
        request = read_request(path)
        assert (request.kind, request.device, request.reason) == (command, "a", "it was sold")
        assert request.by


def test_to_forget_a_device_of_a_model_of_statistics_promises_a_candidate_without_it(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, save_bundle(tmp_path, solved()))
    world.join("a", "b")
    run("forget", "a", "--reason", "it was sold", "--home", str(world.home.root))
    world.turn()
    (path,) = world.home.requests.glob("*.answer")
    assert "solved from those of the others" in path.read_text()
    shown = run("status", "--home", str(world.home.root), "--json")
    devices = msgspec.json.decode(shown, type=Status).devices
    assert {row.device: row.forgotten for row in devices} == {"a": True, "b": False}
    world.close()


def test_what_is_in_quarantine_is_listed_and_decided_on(world: World) -> None:
    there = ("--home", str(world.home.root))
    assert "Nothing is in quarantine" in run("quarantine", *there)
    world.join("a", "b")
    a, _ = world.waiting(wire.Kind.TRAIN)
    world.answer(a, world.update(a, examples=10**9), world.vector())
    world.turn()

    shown = run("quarantine", *there)
    (one,) = msgspec.json.decode(run("quarantine", *there, "--json"), type=list[HeldRow])
    assert "plausible" in shown
    assert (one.device, one.examples) == (name(a.node), 10**9)
    because = ("--reason", "seen")
    assert "the next one does it" in run("quarantine", "release", str(one.id), *there, *because)
    assert '"done":false' in run("quarantine", *there, "drop", str(one.id), *because, "--json")
    kinds = [read_request(path).kind for path in find_requests(world.home.requests)]
    assert kinds == ["drop"]


def test_what_is_malformed_is_shown_as_such_and_cannot_be_released(world: World) -> None:
    there = ("--home", str(world.home.root))
    world.join("a", "b")
    a, _ = world.waiting(wire.Kind.TRAIN)
    world.answer(a, world.update(a), np.full(300_000, np.nan, np.float32))
    world.turn()

    shown = " ".join(run("quarantine", *there).split())
    for words in ("Malformed,", "1,048,576", "1,200,000"):
        assert words in shown
    (one,) = msgspec.json.decode(run("quarantine", *there, "--json"), type=list[HeldRow])
    assert (one.malformed, one.nbytes, one.kept) == (True, 1_200_000, 2**20)
    with pytest.raises(UnsupportedError, match="Drop it with"):
        run("quarantine", "release", str(one.id), "--reason", "seen", *there)


def test_what_is_not_in_quarantine_cannot_be_released(world: World) -> None:
    with pytest.raises(SettingsError, match="no update 7 in quarantine"):
        run("quarantine", "release", "7", "--reason", "seen", "--home", str(world.home.root))


def test_a_device_that_is_not_known_cannot_be_forgotten(world: World) -> None:
    with pytest.raises(SettingsError, match="knows no device 'a'"):
        run("forget", "a", "--reason", "sold", "--home", str(world.home.root))


def test_a_folder_that_is_no_coordinator_is_refused(tmp_path: Path) -> None:
    for command in (["serve"], ["status"], ["enrol", "node.pub"]):
        with pytest.raises(StorageError, match="no coordinator's folder"):
            run(*command, "--home", str(tmp_path))


def test_a_wrong_key_in_the_settings_stops_serve_with_its_path(home: Path) -> None:
    settings = home / "coordinator.toml"
    settings.write_text(settings.read_text().replace("port =", "prot ="))
    with pytest.raises(HeadwaterError, match=r"front\.prot: there is no such key"):
        run("serve", "--home", str(home))


def test_a_strategy_that_does_not_fit_the_model_stops_serve(tmp_path: Path) -> None:
    solved().save(tmp_path / "bundle")
    run("init", str(tmp_path / "home"), "--bundle", str(tmp_path / "bundle"))
    settings = tmp_path / "home" / "coordinator.toml"
    settings.write_text(settings.read_text().replace('name = "fedavg"', 'name = "fedadam"'))
    with pytest.raises(UnsupportedError, match="merge exactly"):
        run("serve", "--home", str(tmp_path / "home"))


def test_what_there_is_to_see_comes_as_tables_and_as_json(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    home = ("--home", str(world.home.root))
    for command, words in {
        "status": "Updates brought",
        "devices": "behind",
        "rounds": "outcome",
        "releases": "the first",
        "audit": "the gate",
    }.items():
        assert words in run(command, *home).replace("\n", " ")
        assert msgspec.json.decode(run(command, *home, "--json"))


def test_a_watched_answer_is_shown_until_ctrl_c(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", pause)
    said = run("rounds", "--home", str(world.home.root), "--json", "--watch")
    assert said == "[]\n[]\n"


def test_the_audit_proves_every_statement_or_fails(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    home = ("--home", str(world.home.root))
    assert "All 2 statements hold" in run("audit", *home, "--verify")

    world.database._engine.execute("UPDATE decisions SET sequence = 9 WHERE sequence = 2")
    with pytest.raises(BundleError, match="release 9"):
        run("audit", *home, "--verify")


def test_an_age_that_is_none_is_refused(home: Path) -> None:
    assert run("audit", "--home", str(home), "--since", "1h", "--json") != "[]\n"
    with pytest.raises(SettingsError, match="--since"):
        run("audit", "--home", str(home), "--since", "yesterday")


def test_an_owner_decides_about_the_candidate_with_a_reason(world: World) -> None:
    home = ("--home", str(world.home.root), "--reason", "seen enough")
    with pytest.raises(NotNowError, match="no open candidate"):
        run("release", *home)
    world.join("a", "b")
    world.train_all()
    said = run("release", *home)
    assert "No coordinator runs" in said
    world.turn()
    assert world.status.sequence == 2

    said = run("rollback", *home, "--json")
    assert not msgspec.json.decode(said)["done"]
    world.turn()
    assert (world.status.sequence, world.status.release) == (3, world.bundle.version_id)


def test_serve_says_at_once_that_the_books_cannot_be_read(home: Path) -> None:
    url = f"postgresql://me@127.0.0.1:{free_port()}/books"
    settings = home / "coordinator.toml"
    settings.write_text(with_url(settings.read_text(), url))
    with pytest.raises(StorageError, match="cannot be read: connection failed"):
        run("serve", "--home", str(home))


@pytest.mark.both_engines
def test_a_coordinator_is_made_seen_and_restored_with_its_books_anywhere(
    tmp_path: Path, database: str
) -> None:
    tiny().save(tmp_path / "bundle")
    folder, again = str(tmp_path / "home"), str(tmp_path / "again")
    run("init", folder, "--bundle", str(tmp_path / "bundle"), "--database", database)
    for command in ("status", "devices", "rounds", "releases", "quarantine", "audit"):
        assert run(command, "--home", folder)
    run("audit", "--verify", "--home", folder)
    run("backup", str(tmp_path / "made.tar"), "--home", folder)
    run("restore", str(tmp_path / "made.tar"), "--home", again, "--database", "sqlite")
    assert "release" in run("status", "--home", again)
