"""The federation core, told as stories; the books are real, the devices answer on command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator.state import State, Version
from headwater_models.signing import verify_version
from tests.coordinator.world import SETTINGS, START, World, name, node, save_bundle
from tests.models.bundles import tiny


def test_a_device_that_appears_is_asked_who_it_is(world: World) -> None:
    world.mail.online.add(node("a"))

    world.turn()

    (task,) = world.mail.sent
    assert (task.kind, task.node) == (wire.Kind.CHECK_IN, node("a"))


def test_a_round_waits_for_enough_devices(world: World) -> None:
    world.join("a")
    world.turn()
    assert world.waiting(wire.Kind.TRAIN) == []

    world.join("b")

    assert {task.node for task in world.waiting(wire.Kind.TRAIN)} == {node("a"), node("b")}


def test_updates_become_a_candidate_and_then_a_signed_release(world: World) -> None:
    world.join("a", "b")
    world.train_all(0.5)
    world.judge_all(-0.1)

    release = world.status.versions[0]
    trusted, _ = world.bundle.verify()
    statement = world.waiting(wire.Kind.RELEASE)[0]
    task = wire.decode_task(statement.fields)
    assert isinstance(task, wire.Release)
    verified = verify_version(task.statement, trusted=trusted)
    assert (verified.kind, verified.version, verified.sequence) == ("release", release.version, 2)
    expected = world.weights(world.bundle.version_id) + 0.5
    np.testing.assert_allclose(world.weights(release.version), expected, atol=1e-6)


def test_a_release_tells_each_device_which_of_its_updates_it_contains(world: World) -> None:
    world.join("a", "b", "c")
    *_, last = world.waiting(wire.Kind.TRAIN)
    for task in world.waiting(wire.Kind.TRAIN)[:2]:
        world.answer(task, world.update(task, sequence=7), world.vector())
    world.lose(last)
    world.turn()
    world.judge_all()

    merged = {}
    for sent in world.waiting(wire.Kind.RELEASE):
        task_ = wire.decode_task(sent.fields)
        assert isinstance(task_, wire.Release)
        merged[sent.node] = task_.merged
    assert merged == {node("a"): 7, node("b"): 7, node("c"): 0}


def test_a_candidate_that_is_worse_is_kept_as_refused_and_never_handed_out(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(+0.1)

    assert world.waiting(wire.Kind.RELEASE) == []
    assert world.status.versions[0].kind == "refused"
    assert "refused: loss 1.1 against 1 of the release" in world.status.versions[0].words


def test_after_a_refused_candidate_the_next_round_starts_from_the_same_release(
    world: World,
) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(+0.1)
    world.turn(2_000)

    for sent in world.waiting(wire.Kind.TRAIN):
        task = wire.decode_task(sent.fields)
        assert isinstance(task, wire.Train)
        assert (task.base, task.round) == (world.bundle.version_id, 2)


def test_a_device_that_vanishes_holds_a_round_up_until_the_deadline_only(world: World) -> None:
    world.join("a", "b", "c")
    silent, *others = world.waiting(wire.Kind.TRAIN)
    world.mail.online.discard(silent.node)
    for task in others:
        world.answer(task, world.update(task), world.vector())
    world.turn()
    assert world.waiting(wire.Kind.EVALUATE) == []

    world.turn(60_000)

    assert {task.node for task in world.waiting(wire.Kind.EVALUATE)} == {t.node for t in others}


def test_a_round_ends_at_once_when_flower_says_that_the_last_device_is_gone(world: World) -> None:
    world.join("a", "b", "c")
    lost, *others = world.waiting(wire.Kind.TRAIN)
    for task in others:
        world.answer(task, world.update(task), world.vector())
    world.lose(lost)
    world.turn()

    assert world.waiting(wire.Kind.EVALUATE)


def test_with_too_few_updates_a_round_is_void_and_what_came_is_kept(world: World) -> None:
    world.join("a", "b")
    first, second = world.waiting(wire.Kind.TRAIN)
    world.answer(first, world.update(first), world.vector())
    world.lose(second)
    world.turn()

    assert world.status.updates == {"accepted": 1, "superseded": 0, "merged": 0}
    assert world.status.rounds == 1


def test_a_later_update_of_a_device_supersedes_the_one_that_waits(world: World) -> None:
    test_with_too_few_updates_a_round_is_void_and_what_came_is_kept(world)
    world.turn(2_000)
    world.train_all(0.25)

    assert world.status.updates == {"accepted": 0, "superseded": 1, "merged": 2}
    candidate = world.status.versions[0]
    expected = world.weights(world.bundle.version_id) + 0.25
    np.testing.assert_allclose(world.weights(candidate.version), expected, atol=1e-6)


def test_an_update_that_comes_after_the_round_is_merged_in_the_next_one(world: World) -> None:
    world.join("a", "b", "c")
    late, *others = world.waiting(wire.Kind.TRAIN)
    for task in others:
        world.answer(task, world.update(task), world.vector())
    world.turn(60_000)
    world.answer(late, world.update(late), world.vector(2.0))
    world.judge_all()
    world.take_release()
    assert world.status.updates["accepted"] == 1

    world.turn(2_000)
    for task in world.waiting(wire.Kind.TRAIN):
        if task.node == late.node:
            world.lose(task)
    world.train_all(0.5)

    release, candidate = world.status.versions[1], world.status.versions[0]
    assert candidate.contributors == 3
    expected = world.weights(release.version) + (0.5 + 0.5 + 2.0) / 3
    np.testing.assert_allclose(world.weights(candidate.version), expected, atol=1e-6)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[World]:
    """A coordinator that would rest for days between two rounds."""
    rounds = msgspec.structs.replace(SETTINGS.federation, pause=Duration(10**9))
    settings = msgspec.structs.replace(SETTINGS, federation=rounds)
    made = World(tmp_path, save_bundle(tmp_path, tiny()), settings)
    yield made
    made.close()


def test_a_device_that_asks_for_training_ends_the_pause_between_rounds(patient: World) -> None:
    patient.join("a", "b")
    patient.train_all()
    patient.judge_all(+0.1)
    patient.drift("a", alarms=2, retrain=False)
    assert patient.waiting(wire.Kind.TRAIN) == []
    assert [(d.alarms, d.retrain) for d in patient.status.devices] == [(2, False), (0, False)]

    patient.drift("a", alarms=3, retrain=True)

    assert {task.node for task in patient.waiting(wire.Kind.TRAIN)} == {node("a"), node("b")}
    assert [(d.alarms, d.retrain) for d in patient.status.devices] == [(3, True), (0, False)]


def test_the_same_wish_for_training_is_granted_once(patient: World) -> None:
    patient.join("a", "b")
    for _ in range(3):
        patient.train_all()
        patient.judge_all(+0.1)
        patient.drift("a", alarms=1, retrain=True)
    assert patient.status.rounds == 2
    assert patient.waiting(wire.Kind.TRAIN) == []


def test_a_replayed_update_is_refused(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(+0.1)
    world.turn(2_000)
    task = world.waiting(wire.Kind.TRAIN)[0]
    world.answer(task, world.update(task, sequence=1), world.vector())
    world.turn()

    assert world.refusals() == ["Update 1 of this device was received before; replay is refused."]


def test_the_same_answer_twice_counts_once(world: World) -> None:
    world.join("a", "b")
    first, second = world.waiting(wire.Kind.TRAIN)
    reply = world.update(first)
    world.answer(first, reply, world.vector())
    world.answer(first, reply, world.vector())
    world.turn()

    assert world.status.updates["accepted"] == 1
    assert world.refusals() == []
    assert world.waiting(wire.Kind.TRAIN) == [second]


def test_a_device_behind_the_release_is_handed_it_when_it_comes_back(world: World) -> None:
    world.join("a", "b", "c")
    world.mail.online.discard(node("c"))
    for task in world.waiting(wire.Kind.TRAIN):
        if task.node == node("c"):
            world.lose(task)
    world.train_all()
    world.judge_all()
    world.take_release()
    assert node("c") not in {task.node for task in world.waiting(wire.Kind.RELEASE)}

    world.join("c")
    world.turn()

    assert [task.node for task in world.waiting(wire.Kind.RELEASE)] == [node("c")]


def test_a_device_that_lacks_the_base_is_handed_the_release(world: World) -> None:
    world.join("a", "b")
    task = world.waiting(wire.Kind.TRAIN)[0]
    asked = wire.decode_task(task.fields)
    assert isinstance(asked, wire.Train)
    declined = wire.Declined(device=name(task.node), task=asked.task, reason="unknown-base")
    world.answer(task, declined)
    world.turn()

    (offer,) = world.waiting(wire.Kind.RELEASE)
    assert (offer.node, offer.vector is not None) == (task.node, True)


def test_no_device_is_chosen_before_it_runs_the_release(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    world.turn(2_000)
    assert world.waiting(wire.Kind.TRAIN) == []

    world.take_release()

    assert len(world.waiting(wire.Kind.TRAIN)) == 2


def test_a_second_device_may_not_take_the_name_of_the_first(world: World) -> None:
    world.join("a")
    world.mail.online.add(node("b"))
    world.turn()
    (task,) = world.waiting(wire.Kind.CHECK_IN)
    reply = wire.CheckedIn(
        device="a", model=world.bundle.model_id, version=world.bundle.version_id, sequence=1
    )
    world.answer(task, reply)
    world.turn()

    assert world.refusals() == ["The name a belongs to the device with key SHA256:a."]


def test_a_restart_in_the_middle_of_a_round_keeps_what_was_accepted(world: World) -> None:
    world.join("a", "b", "c")
    first, *_ = world.waiting(wire.Kind.TRAIN)
    world.answer(first, world.update(first), world.vector(2.0))
    world.turn()

    world.restart()
    world.join()
    second = [task for task in world.waiting(wire.Kind.TRAIN) if task.node != first.node]
    (again,) = (task for task in world.waiting(wire.Kind.TRAIN) if task.node == first.node)
    world.lose(again)
    for task in second:
        world.answer(task, world.update(task), world.vector(0.5))
    world.turn()

    assert world.status.updates == {"accepted": 0, "superseded": 0, "merged": 3}


def test_a_restart_while_a_candidate_is_judged_judges_it_again(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    candidate = world.status.versions[0].version

    world.restart()
    world.join()
    world.judge_all()

    assert world.status.release == candidate
    assert world.status.updates["merged"] == 2


def test_updates_that_change_nothing_make_no_new_version(world: World) -> None:
    world.join("a", "b")
    world.train_all(0.0)

    assert world.status.updates["merged"] == 2
    assert [version.kind for version in world.status.versions] == ["release"]
    assert world.waiting(wire.Kind.EVALUATE) == []


def test_examples_beyond_the_cap_do_not_count(world: World) -> None:
    world.join("a", "b")
    big, small = world.waiting(wire.Kind.TRAIN)
    world.answer(big, world.update(big, examples=90_000), world.vector(1.0))
    world.answer(small, world.update(small, examples=100), world.vector(0.0))
    world.turn()

    expected = world.weights(world.bundle.version_id) + 0.5
    candidate = world.status.versions[0]
    np.testing.assert_allclose(world.weights(candidate.version), expected, atol=1e-6)


def test_an_unanswered_task_is_given_up_when_it_is_void(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    (task,) = world.mail.sent

    world.turn(600_000)

    assert world.mail.forgotten == [task.ask]


def test_a_release_that_a_device_declines_is_shown_and_offered_again_later(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    offer, _ = world.waiting(wire.Kind.RELEASE)
    task = wire.decode_task(offer.fields)
    assert isinstance(task, wire.Release)
    declined = wire.Declined(device=name(offer.node), task=task.version, reason="bad-signature")
    world.answer(offer, declined)
    world.turn()
    assert world.refusals() == ["The device would not take the release (bad-signature)."]
    assert offer.node not in {sent.node for sent in world.waiting(wire.Kind.RELEASE)}

    world.turn(600_000)

    assert offer.node in {sent.node for sent in world.waiting(wire.Kind.RELEASE)}


def test_a_release_that_is_lost_on_its_way_is_offered_again_after_the_deadline(
    world: World,
) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    lost = world.waiting(wire.Kind.RELEASE)
    world.turn(world.settings.federation.deadline)
    offered = world.waiting(wire.Kind.RELEASE)
    assert {offer.node for offer in offered} == {offer.node for offer in lost}
    assert len(offered) == 2 * len(lost)


def test_a_check_in_of_an_agent_that_has_not_swapped_yet_brings_no_second_offer(
    world: World,
) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    world.take_release()
    world.turn(600_000)
    for task in world.waiting(wire.Kind.CHECK_IN):
        world.answer(task, world.checked_in(task))
    world.turn()

    assert world.waiting(wire.Kind.RELEASE) == []


def told_after(world: World, until: int) -> list[object]:
    """What judges are told of the data of a candidate whose newest update reaches so far."""
    for number, task in enumerate(world.waiting(wire.Kind.TRAIN)):
        world.answer(task, world.update(task, data_until_ms=until - number), world.vector())
    world.turn()
    tasks = [wire.decode_task(task.fields) for task in world.waiting(wire.Kind.EVALUATE)]
    return [getattr(task, "after_ms", None) for task in tasks]


def test_judges_are_told_until_when_the_candidate_has_learned(world: World) -> None:
    world.join("a", "b")
    later = world.now + 5_000_000
    assert told_after(world, later) == [later, later]
    world.judge_all()
    world.take_release()
    world.restart()
    world.turn()
    world.join()
    world.turn(2_000)
    assert told_after(world, later - 1_000) == [later, later], "the release has learned it"


def test_the_first_release_may_have_learned_all_that_was_there_when_it_came(world: World) -> None:
    world.join("a", "b")
    assert told_after(world, 17) == [START, START]


def test_a_judge_of_an_older_protocol_is_told_nothing_that_it_cannot_read(world: World) -> None:
    world.mail.online |= {node("a"), node("b")}
    world.turn()
    for task in world.waiting(wire.Kind.CHECK_IN):
        old = msgspec.structs.replace(world.checked_in(task), protocol=1)
        world.answer(task, old)
    world.turn()
    for task in world.waiting(wire.Kind.TRAIN):
        world.answer(task, world.update(task, protocol=1), world.vector())
    world.turn()
    assert world.waiting(wire.Kind.EVALUATE)
    for task in world.waiting(wire.Kind.EVALUATE):
        assert b"after_ms" not in task.fields
        assert wire.decode_task(task.fields).protocol == 1


def test_how_stale_a_base_is_counts_the_releases_after_it() -> None:
    first = Version("a", 3, "", "")
    state = State(release=first, sequences={"a": 3})
    assert (state.staleness("a"), state.staleness("b")) == (0, None)

    state.release = Version("b", 7, "a", "")
    state.sequences["b"] = 7
    assert (state.staleness("a"), state.staleness("b")) == (1, 0)

    state.release = Version("a", 8, "b", "")  # rolled back: an older version is the newest release
    state.sequences["a"] = 8
    assert (state.staleness("a"), state.staleness("b")) == (0, 1)
