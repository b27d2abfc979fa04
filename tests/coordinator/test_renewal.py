"""Release keys come and go by the publisher's word, and devices follow it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headwater import wire
from headwater.errors import BundleError, StorageError
from headwater_agent.verdict import Device, judge
from headwater_coordinator.audit import audit, prove
from headwater_coordinator.renewal import Renewed, renew
from headwater_models.bundle import Bundle
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_model
from tests.coordinator.world import START, World


def publish(world: World, folder: Path, *keys: str, later: int = 1) -> Path:
    """The publisher's next statement, delegating to these keys."""
    publisher = SigningKey.load(world.home.publisher_key)
    text = sign_model(
        publisher, model=world.bundle.model_id, release_keys=keys, created=START + later
    )
    path = folder / "model.sig.json"
    path.write_text(text)
    return path


def put(world: World, statement: Path, key: Path | None = None) -> Renewed:
    """Stop the coordinator, put the statement in force, and start it."""
    world.database.close()
    try:
        return renew(world.home, statement, key, by="alice", now=world.now)
    finally:
        world.bundle = Bundle.load(world.home.bundle)
        world.restart()


def test_a_release_after_the_change_is_signed_with_the_new_key_and_the_old_one_is_refused(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    (old, *_) = world.waiting(wire.Kind.RELEASE)
    new = SigningKey.create(tmp_path / "new.key")

    renewed = put(world, publish(world, tmp_path, new.public), tmp_path / "new.key")

    assert renewed.sequence == 3
    world.join("a", "b")
    (fresh, *_) = world.waiting(wire.Kind.RELEASE)
    bundle = Bundle.load(world.home.bundle)
    trusted, current = bundle.verify()
    device = Device("a", bundle.manifest, trusted, current, dict(bundle.weights))

    def accepted(task: object) -> bool:
        message = wire.decode_task(task.fields)  # type: ignore[attr-defined]
        found = judge(device, {}, "1" * 64, message, task.vector, now=0)  # type: ignore[attr-defined]
        return isinstance(found.reply, wire.Received)

    assert accepted(fresh)
    assert not accepted(old), "its key was revoked"


def test_statements_of_former_keys_are_proved_by_what_held_then(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    new = SigningKey.create(tmp_path / "new.key")
    put(world, publish(world, tmp_path, new.public), tmp_path / "new.key")

    assert prove(world.home).complaints == []
    assert [entry.kind for entry in audit(world.home)] == ["begin", "release", "renew", "rollback"]
    assert audit(world.home)[-2].by == "alice"


def test_a_key_that_comes_beside_the_old_one_changes_no_release(
    world: World, tmp_path: Path
) -> None:
    old = SigningKey.load(world.home.release_key)
    new = SigningKey.create(tmp_path / "new.key")
    renewed = put(world, publish(world, tmp_path, old.public, new.public), tmp_path / "new.key")
    assert renewed.sequence is None
    assert SigningKey.load(world.home.release_key).public == new.public


def test_an_open_candidate_goes_with_the_key_that_signed_it(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    world.take_release()
    world.turn(2_000)
    world.train_all(0.25)
    new = SigningKey.create(tmp_path / "new.key")
    put(world, publish(world, tmp_path, new.public), tmp_path / "new.key")
    assert world.status.versions[0].words == "refused: the key that signed it was revoked"


def test_what_is_not_the_publishers_later_word_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    old = SigningKey.load(world.home.release_key)
    for key, later, words in ((old.public, 0, "not later"), ("f" * 64, 1, "does not delegate")):
        with pytest.raises(BundleError, match=words):
            put(world, publish(world, tmp_path, key, later=later))
    stranger = SigningKey.from_seed(bytes(32))
    path = tmp_path / "model.sig.json"
    path.write_text(sign_model(stranger, model=world.bundle.model_id, created=START + 1))
    with pytest.raises(BundleError, match="trusted here"):
        put(world, path)
    assert len(audit(world.home)) == 1


def test_a_running_coordinator_keeps_its_keys(world: World, tmp_path: Path) -> None:
    statement = publish(world, tmp_path, SigningKey.load(world.home.release_key).public)
    code = (
        "import sys; from pathlib import Path; from headwater_coordinator.lock import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(world.home.lock)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="stop it"):
            renew(world.home, statement, None, by="alice", now=0)
        other.communicate("")
    assert len(audit(world.home)) == 1
