"""Release keys come and go by the publisher's word, and devices follow it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headwater import wire
from headwater.errors import BundleError, StorageError
from headwater_agent.client import Client, Delivered, Send
from headwater_agent.verdict import Device, judge
from headwater_coordinator.audit import audit, prove
from headwater_coordinator.link import Outgoing
from headwater_coordinator.renewal import Renewed, renew, renewal_request
from headwater_coordinator.requests import write_request
from headwater_models.bundle import Bundle
from headwater_models.files import write_file
from headwater_models.keys import SigningKey
from headwater_models.requested import Answer, await_answer
from headwater_models.signing import sign_model, sign_version
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

    assert renewed.release is not None
    assert renewed.release.sequence == 3
    assert "signed anew with sequence 3" in renewed.words
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
    assert renewed.release is None
    assert "signed anew" not in renewed.words
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


def decide(world: World, statement: Path, key: Path | None = None) -> Answer:
    """Let the coordinator that runs put the statement in force."""
    path = write_request(
        world.home.requests, renewal_request(world.home, statement, key, by="alice")
    )
    world.turn()
    answer = await_answer(path, lambda: True, patience_s=0.0)
    assert answer is not None
    return answer


def client_of(world: World) -> Client:
    """The federation client of a device that has the coordinator's first bundle."""
    trusted, current = world.bundle.verify()
    manifest = world.bundle.manifest
    return Client(Device("a", manifest, trusted, current, dict(world.bundle.weights)))


def takes(client: Client, task: Outgoing) -> wire.Reply | None:
    """Deliver a message to a client; return its answer if it has one at once."""
    event = Delivered(task.kind, task.fields, task.vector, task.ask.encode())
    sent = [effect for effect in client.feed(event, 0) if isinstance(effect, Send)]
    return wire.decode_reply(sent[0].fields) if sent else None


def test_a_running_coordinator_signs_with_the_new_key_and_its_devices_follow(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    client = client_of(world)
    world.train_all()
    world.judge_all()
    old = world.waiting(wire.Kind.RELEASE)[0]
    world.take_release()
    new = SigningKey.create(tmp_path / "new.key")

    answer = decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key")

    assert answer.done
    assert "The release is signed anew with sequence 3" in answer.text
    assert not world.home.next_release_key.exists()
    assert SigningKey.load(world.home.release_key).public == new.public
    world.turn(2_000)
    again = world.waiting(wire.Kind.RELEASE)
    assert len(again) == 2, "all are handed the release as it is signed now"
    received = takes(client, again[0])
    assert isinstance(received, wire.Received)
    assert (client.newest.sequence, client.newest.key) == (3, new.public)
    world.take_release()
    world.turn(2_000)
    assert not world.waiting(wire.Kind.RELEASE)
    declined = takes(client, old)
    assert isinstance(declined, wire.Declined)
    assert declined.reason == "bad-signature"
    assert prove(world.home).complaints == []


def test_the_publishers_own_key_is_replaced_and_devices_follow(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    client = client_of(world)
    before = SigningKey.load(world.home.publisher_key)
    heir = SigningKey.create(tmp_path / "heir.key")
    releases = SigningKey.load(world.home.release_key).public
    handed = world.bundle.sign(heir, delegates=[releases], created=START + 1, replaces=before)
    statement = tmp_path / "handed.json"
    statement.write_text(handed.model_statement or "")

    assert decide(world, statement).done
    world.train_all()
    world.judge_all()
    task = world.waiting(wire.Kind.RELEASE)[0]
    assert isinstance(takes(client, task), wire.Received)

    stolen = publish(world, tmp_path, later=2)
    with pytest.raises(BundleError, match="trusted here"):
        decide(world, stolen)
    forged = wire.Release(
        model=world.bundle.model_id,
        version=world.status.release,
        statement=sign_version(
            before,
            kind="release",
            model=world.bundle.model_id,
            version=world.status.release,
            sequence=9,
        ),
        delegation=stolen.read_text(),
    )
    message = Outgoing("x", "a", wire.Kind.RELEASE, wire.encode(forged), task.vector, 1.0)
    assert isinstance(takes(client, message), wire.Declined)
    assert prove(world.home).complaints == []
    (renewed,) = (one for one in audit(world.home) if one.kind == "renew")
    assert f"publishes with {heir.public[:12]}" in renewed.words


def test_a_check_in_tells_devices_whom_to_trust(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    client = client_of(world)
    old = SigningKey.load(world.home.release_key)
    new = SigningKey.create(tmp_path / "new.key")
    assert decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key").done

    world.turn(int(world.settings.federation.check_in))

    takes(client, world.waiting(wire.Kind.CHECK_IN)[0])
    assert client.newest == world.bundle.verify()[1], "its own version stays"
    forged = sign_version(
        old, kind="release", model=world.bundle.model_id, version=world.status.release, sequence=9
    )
    release = wire.Release(
        model=world.bundle.model_id, version=world.status.release, statement=forged
    )
    vector = world.weights(world.status.release)
    message = Outgoing("x", "a", wire.Kind.RELEASE, wire.encode(release), vector, 1.0)
    assert isinstance(takes(client, message), wire.Declined)


def test_a_candidate_of_the_new_key_brings_what_makes_it_count(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    client = client_of(world)
    new = SigningKey.create(tmp_path / "new.key")
    assert decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key").done
    world.train_all()

    task = world.waiting(wire.Kind.EVALUATE)[0]

    assert takes(client, task) is None, "it is kept for the agent to judge, and not declined"


def test_a_round_that_is_open_goes_on_with_the_new_key(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    assert world.waiting(wire.Kind.TRAIN)
    new = SigningKey.create(tmp_path / "new.key")

    assert decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key").done

    world.train_all()
    world.judge_all()
    assert world.status.sequence == 2, "the first version is signed by the publisher: it stays"
    assert world.status.updates["merged"] == 2
    assert prove(world.home).complaints == []


def test_an_open_candidate_goes_with_the_key_while_the_coordinator_runs(
    world: World, tmp_path: Path
) -> None:
    world.join("a", "b")
    world.train_all()
    new = SigningKey.create(tmp_path / "new.key")

    assert decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key").done

    words = "refused by the owner: the key that signed it was revoked"
    assert world.status.versions[0].words == words
    world.judge_all()
    world.turn(2_000)
    assert world.waiting(wire.Kind.TRAIN), "the next round opens"


def test_what_was_renewed_outlives_a_restart(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    new = SigningKey.create(tmp_path / "new.key")
    assert decide(world, publish(world, tmp_path, new.public), tmp_path / "new.key").done
    before = world.status.sequence

    world.bundle = Bundle.load(world.home.bundle)
    world.restart()
    world.join("a", "b")
    world.train_all()
    world.judge_all()

    assert world.status.sequence == before + 1
    assert prove(world.home).complaints == []


def test_a_statement_that_does_not_hold_any_more_is_answered_and_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    old = SigningKey.load(world.home.release_key)
    request = renewal_request(
        world.home, publish(world, tmp_path, old.public, later=1), None, by="alice"
    )
    later = publish(world, tmp_path, old.public, "f" * 64, later=2)
    assert decide(world, later).done

    path = write_request(world.home.requests, request)
    world.turn()

    answer = await_answer(path, lambda: True, patience_s=0.0)
    assert answer is not None
    assert not answer.done
    assert "not later" in answer.text
    assert [entry.kind for entry in audit(world.home)] == ["begin", "renew"]


def test_another_key_than_the_one_that_was_asked_for_signs_nothing(
    world: World, tmp_path: Path
) -> None:
    new = SigningKey.create(tmp_path / "new.key")
    statement = publish(world, tmp_path, new.public)
    request = renewal_request(world.home, statement, tmp_path / "new.key", by="alice")
    SigningKey.create(tmp_path / "other.key")
    write_file(world.home.next_release_key, (tmp_path / "other.key").read_bytes(), mode=0o600)

    path = write_request(world.home.requests, request)
    world.turn()

    answer = await_answer(path, lambda: True, patience_s=0.0)
    assert answer is not None
    assert not answer.done
    assert "does not delegate" in answer.text


def test_a_statement_that_no_message_could_carry_is_refused(world: World, tmp_path: Path) -> None:
    old = SigningKey.load(world.home.release_key)
    many = [f"{number:064x}" for number in range(300)]
    with pytest.raises(BundleError, match="do not travel"):
        put(world, publish(world, tmp_path, old.public, *many))


def test_books_that_another_process_holds_are_left_alone(world: World, tmp_path: Path) -> None:
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
