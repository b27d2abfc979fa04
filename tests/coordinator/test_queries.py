"""What can be asked of a coordinator's folder, and that the answers are what happened."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator import queries
from headwater_coordinator.link import Outgoing
from headwater_models.compression import compress
from tests.coordinator.world import START, World

pytestmark = pytest.mark.both_engines


def test_a_round_says_who_answered_how_many_bytes_came_and_how_long_it_took(world: World) -> None:
    world.join("a", "b", "c")
    first, second, third = world.waiting(wire.Kind.TRAIN)
    sent: list[tuple[Outgoing, wire.Update, Vector]] = [
        (first, world.update(first), world.vector()),
        (second, world.update(second), compress(world.vector(), world.bundle.manifest, "float16")),
        (third, world.update(third), np.full(world.size, np.nan, np.float32)),
    ]
    for task, update, vector in sent:
        world.answer(task, update, vector)
    world.turn(7_000)
    world.judge_all()

    (one, *older) = queries.rounds(world.home)

    assert older == []
    assert (one.asked, one.accepted, one.refused, one.failed) == (3, 2, 1, 0)
    assert (one.outcome, one.became, one.base_sequence) == ("merged", "release", 1)
    expected = sum(len(wire.encode(update)) + vector.nbytes for _, update, vector in sent)
    assert one.bytes == expected
    assert one.duration_ms == 7_000
    assert one.merge_ms is not None


def test_rounds_come_newest_first_and_no_more_than_were_asked_for(world: World) -> None:
    world.join("a", "b")
    for _ in range(3):
        world.train_all()
        world.judge_all(0.5)
        world.turn(2_000)
    assert [one.round for one in queries.rounds(world.home, limit=2)] == [4, 3]


def test_a_device_shows_what_came_of_its_updates_and_how_far_it_is_behind(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    first, second = world.waiting(wire.Kind.RELEASE)
    world.answer(first, world.received(first))
    world.turn()

    found = {one.node: one for one in queries.devices(world.home, running=True)}

    took, lacks = found[first.node], found[second.node]
    assert (took.staleness, lacks.staleness) == (0, 1)
    assert (took.accepted, took.merged, took.pending, took.refused) == (1, 1, 0, 0)
    assert (took.loss_before, took.loss_after) == (1.0, 0.5)
    assert took.online
    assert took.bytes > world.size * 4


def test_a_device_shows_the_losses_in_the_field_that_it_said_last_also_after_a_restart(
    world: World,
) -> None:
    world.join("a", "b")
    world.turn(int(world.settings.federation.check_in))
    first, second = world.waiting(wire.Kind.CHECK_IN)
    losses = {"loss_baseline": 3.0, "loss_released": 2.0, "loss_personal": 1.0}
    world.answer(first, msgspec.structs.replace(world.checked_in(first), scored=40, **losses))
    world.answer(second, world.checked_in(second))
    world.turn()
    world.restart()

    found = {one.node: one for one in queries.devices(world.home, running=True)}

    said, silent = found[first.node], found[second.node]
    assert said.scored == 40
    assert (said.loss_baseline, said.loss_released, said.loss_personal) == (3.0, 2.0, 1.0)
    assert (silent.scored, silent.loss_baseline, silent.loss_released) == (0, None, None)


def test_who_has_not_said_what_it_runs_is_not_behind(world: World) -> None:
    world.mail.online.add("SHA256:x")
    world.turn()
    (one,) = queries.devices(world.home, running=False)
    assert (one.staleness, one.loss_before) == (None, None)


def test_who_is_ahead_of_restored_books_is_not_behind(world: World) -> None:
    world.mail.online.add("SHA256:x")
    world.turn()
    (task,) = world.waiting(wire.Kind.CHECK_IN)
    said = world.checked_in(task, version="f" * 64)
    world.answer(task, msgspec.structs.replace(said, sequence=4))
    world.turn()
    (one,) = queries.devices(world.home, running=True)
    assert (one.sequence, one.staleness) == (4, 0)


def test_while_nothing_runs_nobody_is_online(world: World) -> None:
    world.join("a")
    assert [one.online for one in queries.devices(world.home, running=False)] == [False]
    found = queries.overview(world.home, running=queries.is_running(world.home))
    assert (found.running, found.online, found.live) == (False, 0, None)


def test_releases_have_the_words_and_figures_of_the_gate(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(-0.25)

    newest, first = queries.releases(world.home)

    assert (first.kind, first.by, first.sequence, first.time_ms) == ("begin", "the owner", 1, START)
    assert (newest.kind, newest.by, newest.contributors) == ("release", "the gate", 2)
    assert (newest.difference, newest.devices, newest.rows) == (-0.25, 2, 20)
    assert newest.words.startswith("released: loss 0.75 against 1 of the release")


def test_the_overview_says_what_runs_and_where_it_stands(world: World) -> None:
    world.join("a", "b", "c")
    (task, *_) = world.waiting(wire.Kind.TRAIN)
    world.answer(task, world.update(task), world.vector())
    world.turn(2_000)

    found = queries.overview(world.home, running=True)

    assert found.running
    assert found.live is not None
    assert (found.live.discipline, found.live.phase, found.live.round) == ("rounds", "training", 1)
    assert (found.live.asked, found.live.open, found.live.accepted, found.live.wanted) == (
        3, 2, 1, 3,
    )  # fmt: skip
    assert (found.online, found.known, found.candidate) == (3, 3, "")
    assert found.received_bytes > world.size * 4

    world.train_all()
    world.turn(2_000)
    found = queries.overview(world.home, running=True)
    assert found.live is not None
    assert (found.live.phase, found.candidate) == ("judging", world.status.versions[0].version)


def test_the_newest_warnings_of_the_log_are_the_last_errors(tmp_path: Path) -> None:
    log = tmp_path / "serverapp.log"
    assert queries.last_errors(log) == []
    lines = [f"10:0{n} {level} x: {n}" for n in range(4) for level in ("INFO", "WARNING", "ERROR")]
    log.write_text("\n".join(lines))
    assert queries.last_errors(log, 3) == [lines[8], lines[10], lines[11]]
