"""The owner's word: it is done by the running coordinator, answered, and stands in the books."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from headwater import wire
from headwater.errors import NotNowError, SettingsError
from headwater_coordinator.audit import audit
from headwater_coordinator.queries import devices, releases
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.settings import Gate
from headwater_coordinator.steering import (
    ask,
    candidate_request,
    device_request,
    group_request,
    rollback_request,
)
from headwater_models.requested import Answer, await_answer
from headwater_models.signing import verify_version
from tests.coordinator.world import World, node


def decide(world: World, request: Request) -> Answer:
    """Ask, and let the coordinator look once."""
    path = write_request(world.home.requests, request)
    world.turn()
    answer = await_answer(path, lambda: True, patience_s=0.0)
    assert answer is not None
    return answer


def release(world: World, value: float = 0.5) -> str:
    """Train and judge until there is another release; return its version."""
    world.train_all(value)
    world.judge_all()
    world.take_release()
    world.turn(2_000)
    return world.status.release


def candidate(world: World, *, passed: bool) -> Request:
    return candidate_request(world.home, passed=passed, by="alice", reason="seen enough")


def back(world: World, wanted: str = "") -> Request:
    return rollback_request(world.home, wanted, by="alice", reason="it drifts")


def test_a_candidate_is_released_before_anyone_has_judged_it(world: World) -> None:
    world.join("a", "b")
    world.train_all()

    answer = decide(world, candidate(world, passed=True))

    assert answer.done
    assert "is released" in answer.text
    assert world.status.sequence == 2
    (entry,) = [one for one in audit(world.home) if one.kind == "release"]
    assert (entry.by, entry.words) == ("alice", "released by the owner: seen enough")


def test_a_rejected_candidate_is_kept_with_the_reason_and_the_next_round_opens(
    world: World,
) -> None:
    world.join("a", "b")
    world.train_all()

    assert decide(world, candidate(world, passed=False)).done

    assert world.status.sequence == 1
    assert world.status.versions[0].words == "refused by the owner: seen enough"
    world.judge_all()
    world.turn(2_000)
    assert world.waiting(wire.Kind.TRAIN)


def test_the_figures_of_those_who_have_judged_stay_with_an_owners_decision(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    first, _ = world.waiting(wire.Kind.EVALUATE)
    world.answer(first, world.evaluated(first, 0.25))
    world.turn()

    assert decide(world, candidate(world, passed=True)).done

    assert world.status.versions[0].difference == 0.25


def test_a_decision_about_a_candidate_that_is_gone_touches_no_other(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    late = candidate(world, passed=True)
    world.judge_all(0.5)
    world.turn(2_000)
    world.train_all(0.25)

    answer = decide(world, late)

    assert not answer.done
    assert "open no more" in answer.text
    assert world.status.sequence == 1


def test_where_no_candidate_is_open_there_is_nothing_to_decide(world: World) -> None:
    with pytest.raises(NotNowError, match="no open candidate"):
        candidate(world, passed=True)


def test_a_rollback_is_a_new_statement_with_a_higher_sequence_that_devices_get(
    world: World,
) -> None:
    world.join("a", "b")
    release(world)

    answer = decide(world, back(world))

    assert answer.done
    assert (world.status.release, world.status.sequence) == (world.bundle.version_id, 3)
    world.turn()
    tasks = world.waiting(wire.Kind.RELEASE)
    assert len(tasks) == 2
    trusted, _ = world.bundle.verify()
    for task in tasks:
        message = wire.decode_task(task.fields)
        assert isinstance(message, wire.Release)
        said = verify_version(message.statement, trusted=trusted)
        assert (said.kind, said.sequence, said.version) == ("rollback", 3, world.bundle.version_id)
        assert message.merged == 0, "the first version contains no update"


def test_a_rollback_outlives_a_restart_and_the_next_release_builds_on_it(world: World) -> None:
    world.join("a", "b")
    release(world)
    decide(world, back(world))
    world.restart()
    world.join("a", "b")
    world.take_release()
    world.turn(2_000)
    made = release(world, 0.125)

    (newest,) = releases(world.home, limit=1)
    assert (newest.version, newest.sequence, newest.parent) == (made, 4, world.bundle.version_id)


def test_to_go_back_twice_goes_back_along_what_versions_were_made_from(world: World) -> None:
    world.join("a", "b")
    second = release(world)
    release(world, 0.25)

    decide(world, back(world))
    assert world.status.release == second
    decide(world, back(world))
    assert world.status.release == world.bundle.version_id
    with pytest.raises(SettingsError, match="No older release"):
        back(world)


def test_a_version_may_be_named_by_its_sequence_or_the_beginning_of_its_name(
    world: World,
) -> None:
    world.join("a", "b")
    second = release(world)
    release(world, 0.25)

    assert back(world, "2").version == second
    assert back(world, second[:8]).version == second
    for nothing in ("7", "3", second[:3], "f" * 12):
        with pytest.raises(SettingsError, match="No older release"):
            back(world, nothing)


def test_a_candidate_made_from_the_release_that_is_left_goes_with_it(world: World) -> None:
    world.join("a", "b")
    release(world)
    world.train_all(0.25)
    assert world.waiting(wire.Kind.EVALUATE)

    assert decide(world, back(world)).done

    assert [row.kind for row in world.status.versions] == ["refused", "release", "release"]
    assert world.status.versions[0].words.startswith("refused by the owner: its base was rolled")


def test_a_version_whose_weights_are_gone_cannot_come_back(world: World) -> None:
    world.join("a", "b")
    release(world)
    (world.home.versions / f"{world.bundle.version_id}.safetensors").unlink()
    with pytest.raises(NotNowError, match="kept no more"):
        back(world)


def test_a_version_that_never_was_a_release_is_refused_by_the_coordinator(world: World) -> None:
    answer = decide(world, Request("rollback", version="f" * 64))
    assert not answer.done


def about(world: World, kind: Literal["forget", "readmit"], device: str) -> Request:
    return device_request(world.home, kind, device, by="alice", reason="it was sold")


def test_to_forget_says_what_it_cannot_undo_and_to_readmit_that_the_device_is_asked(
    world: World,
) -> None:
    world.join("a", "b")

    forgotten = decide(world, about(world, "forget", "a"))
    assert forgotten.done
    assert "pending update of a is dropped" in forgotten.text
    assert "cannot be taken apart" in forgotten.text
    again = decide(world, about(world, "forget", "a"))
    assert again == Answer(True, "a was forgotten before; nothing changes.")
    readmitted = decide(world, about(world, "readmit", "a"))
    assert readmitted == Answer(True, "a is asked again from the next round on.")
    again = decide(world, about(world, "readmit", "a"))
    assert again == Answer(True, "a was not forgotten; nothing changes.")

    entries = [entry for entry in audit(world.home) if entry.device]
    assert [(entry.kind, entry.by, entry.words) for entry in entries] == [
        ("forget", "alice", "it was sold"),
        ("readmit", "alice", "it was sold"),
    ]


def into(world: World, device: str, group: str) -> Request:
    return group_request(world.home, device, group, by="alice", reason="by the map")


def test_a_device_is_put_into_a_group_and_out_of_it(world: World) -> None:
    world.join("a", "b")

    assert decide(world, into(world, "a", "north")) == Answer(True, "a belongs to group north.")
    again = decide(world, into(world, "a", "north"))
    assert again == Answer(True, "a was there before; nothing changes.")
    assert {one.device: one.group for one in devices(world.home, running=True)} == {
        "a": "north",
        "b": "",
    }
    assert decide(world, into(world, "a", "")) == Answer(True, "a belongs to no group.")

    entries = [entry for entry in audit(world.home) if entry.kind == "group"]
    assert [(entry.by, entry.device, entry.words) for entry in entries] == [
        ("alice", "a", "north: by the map"),
        ("alice", "a", "no group: by the map"),
    ]


def test_a_group_outlives_a_restart_and_may_be_given_before_a_device_is_seen(
    world: World,
) -> None:
    request = Request("group", node=node("a"), group="north", by="alice", reason="enrolled")
    assert decide(world, request).text == "SHA256:a belongs to group north."
    world.restart()
    world.join("a", "b")

    assert [one.group for one in devices(world.home, running=True)] == ["north", ""]


def test_a_group_that_the_candidate_harms_keeps_it_from_the_fleet(world: World) -> None:
    world.settings = msgspec.structs.replace(
        world.settings, gate=Gate(tolerance=1.0, worst_group_tolerance=0.01, group_devices=2)
    )
    world.restart()
    world.join(*"abcde")
    for device, group in zip("abcd", ("north", "north", "south", "south"), strict=True):
        decide(world, into(world, device, group))
    world.train_all()
    for task in world.waiting(wire.Kind.EVALUATE):
        worse = task.node in (node("c"), node("d"))
        world.answer(task, world.evaluated(task, 0.05 if worse else -0.5))
    world.turn()

    assert world.status.sequence == 1
    words = world.status.versions[0].words
    assert words.startswith("refused: ")
    assert "group south is worse on 2 of 2 devices" in words
    assert "north" not in words


def test_a_device_that_is_not_known_is_asked_about_in_vain(world: World) -> None:
    world.join("a", "b")
    for nobody in ("c", ""):
        with pytest.raises(SettingsError, match="knows no device"):
            about(world, "forget", nobody)
        with pytest.raises(SettingsError, match="knows no device"):
            into(world, nobody, "north")
    answer = decide(world, Request("forget", "c"))
    assert answer == Answer(False, "There is no device c.")


def test_what_was_not_done_stands_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    decide(world, Request("rollback", version="f" * 64, by="alice"))
    assert "rollback, asked by alice, was not done: Version ffffffffffff" in caplog.text


def test_while_nothing_runs_nobody_waits(world: World, tmp_path: Path) -> None:
    world.join("a", "b")
    release(world)
    assert ask(world.home, back(world)) is None
    assert list(world.home.requests.glob("*.request"))
