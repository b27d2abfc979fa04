"""A federation of statistics, told as stories: what is merged, replaced, erased, and comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater_coordinator.contributions import Contributions
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.registry import Registry
from headwater_coordinator.requests import Request, find_requests, write_request
from headwater_models.arrays import Arrays, Statistics, pack_statistics
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.signing import verify_version
from headwater_models.statistics import head_of, merge, solve
from tests.coordinator.world import World, name, node, save_bundle
from tests.models.bundles import spec
from tests.models.statistics.gathered import gather, some_data

pytestmark = pytest.mark.both_engines


@cache
def solved() -> Bundle:
    """A forecast whose head is solved from statistics."""
    built = build(msgspec.structs.replace(spec(), learner="ridge"), np.random.default_rng(0))
    return Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )


MODEL = solved().manifest


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    """A coordinator for that model; rounds of two devices."""
    made = World(tmp_path, save_bundle(tmp_path, solved()), database=database)
    yield made
    made.close()


@cache
def given(device: str, count: int = 100) -> Statistics:
    """What a device has gathered from so many examples."""
    return gather(MODEL, some_data(MODEL, count, seed=sum(device.encode())))


def contribute(world: World, counts: Mapping[str, int] | None = None) -> None:
    """Every device that was asked sends all that it has gathered."""
    for task in world.waiting(wire.Kind.TRAIN):
        count = (counts or {}).get(name(task.node), 100)
        vector = pack_statistics(MODEL, given(name(task.node), count))
        world.answer(task, world.update(task, examples=count), vector)
    world.turn()


def head(world: World, version: str) -> Arrays:
    """The head of a version on disk."""
    return head_of(MODEL, Registry(world.home.versions, MODEL).load(version))


def solution(*devices: str, count: int = 100) -> Arrays:
    """The head solved from what these devices gave, in the order in which books keep it."""
    return solve(MODEL, merge(MODEL, {node(device): given(device, count) for device in devices}))


def same(ours: Arrays, theirs: Arrays) -> bool:
    return all(ours[key].tobytes() == theirs[key].tobytes() for key in theirs)


def ask(world: World, kind: str, device: str) -> None:
    write_request(world.home.requests, Request(kind, device))  # type: ignore[arg-type]
    world.turn()


def released(world: World, *devices: str) -> None:
    """A first round of these devices, judged and taken."""
    world.join(*devices)
    contribute(world)
    world.judge_all()
    world.take_release()


def test_the_release_is_solved_from_what_all_devices_gave(world: World) -> None:
    released(world, "a", "b")

    version = world.status.versions[0]
    assert same(head(world, version.version), solution("a", "b"))
    assert (version.contributors, version.examples) == (2, 200)


def test_a_device_that_gives_more_replaces_what_it_gave(world: World) -> None:
    released(world, "a", "b")
    world.turn(2_000)
    contribute(world, {"a": 300, "b": 300})
    world.judge_all()

    version = world.status.versions[0]
    assert same(head(world, version.version), solution("a", "b", count=300))
    assert (world.status.contributions, world.status.contributed_examples) == (2, 600)


def test_a_device_that_is_away_still_counts_with_what_it_gave(world: World) -> None:
    released(world, "a", "b", "c")
    world.mail.online.discard(node("c"))
    world.turn(2_000)
    contribute(world, {"a": 200, "b": 200})
    world.judge_all()

    expected = {node("a"): given("a", 200), node("b"): given("b", 200), node("c"): given("c")}
    version = world.status.versions[0].version
    assert same(head(world, version), solve(MODEL, merge(MODEL, expected)))


def test_no_cap_keeps_examples_from_counting_once_each(world: World) -> None:
    assert world.settings.federation.weight_cap == 100
    world.join("a", "b")
    contribute(world, {"a": 100, "b": 5_000})

    expected = {node("a"): given("a", 100), node("b"): given("b", 5_000)}
    candidate = world.status.versions[0].version
    assert same(head(world, candidate), solve(MODEL, merge(MODEL, expected)))


def test_too_few_examples_are_refused_and_never_merged(world: World) -> None:
    world.join("a", "b")
    contribute(world, {"a": 49})

    assert "49 examples; at least 50" in world.refusals()[0]
    assert world.status.contributions == 1


def test_a_refused_candidate_takes_no_contribution_with_it(world: World) -> None:
    world.join("a", "b")
    contribute(world)
    world.judge_all(+0.1)
    assert world.status.versions[0].kind == "refused"

    assert (world.status.contributions, world.status.updates["merged"]) == (2, 2)


def test_an_erased_contribution_is_gone_and_the_rest_is_bit_for_bit_the_merge_of_the_others(
    world: World,
) -> None:
    released(world, "a", "b", "c")

    ask(world, "forget", "b")
    world.turn()
    world.judge_all()

    version = world.status.versions[0]
    assert same(head(world, version.version), solution("a", "c"))
    assert (version.kind, version.contributors) == ("release", 2)
    packed = pack_statistics(MODEL, given("b")).tobytes()[:64]
    files = [path for path in world.home.root.glob("coordinator.db*") if path.is_file()]
    assert not any(packed in path.read_bytes() for path in files)


def test_a_forgotten_device_is_asked_for_nothing_more_until_it_is_readmitted(world: World) -> None:
    released(world, "a", "b", "c")
    ask(world, "forget", "b")
    world.turn()
    world.judge_all()
    world.take_release()
    world.turn(2_000)
    assert {name(task.node) for task in world.waiting(wire.Kind.TRAIN)} == {"a", "c"}
    contribute(world)
    assert next(row for row in world.status.devices if row.device == "b").forgotten

    ask(world, "readmit", "b")
    world.turn(2_000)

    assert {name(task.node) for task in world.waiting(wire.Kind.TRAIN)} >= {"b"}


def test_what_a_forgotten_device_was_asked_before_is_refused(world: World) -> None:
    world.join("a", "b", "c")
    (late,) = [task for task in world.waiting(wire.Kind.TRAIN) if name(task.node) == "b"]

    ask(world, "forget", "b")
    vector = pack_statistics(MODEL, given("b"))
    world.answer(late, world.update(late, examples=100), vector)
    world.turn()

    assert "erased" in world.refusals()[0]
    assert world.status.contributions == 0


def test_a_candidate_that_an_erased_contribution_is_in_is_refused_at_once(world: World) -> None:
    world.join("a", "b", "c")
    contribute(world)
    assert world.waiting(wire.Kind.EVALUATE)

    ask(world, "forget", "b")
    world.turn()

    refused, candidate = world.status.versions[1], world.status.versions[0]
    assert (refused.kind, candidate.kind) == ("refused", "candidate")
    assert "was erased" in refused.words
    assert same(head(world, candidate.version), solution("a", "c"))


def test_an_erasure_outlives_a_restart_before_its_candidate_was_made(world: World) -> None:
    released(world, "a", "b", "c")
    world.database.erase(node("b"), Ruling("the owner"), world.now)

    world.restart()
    world.turn()
    world.turn()

    assert same(head(world, world.status.versions[0].version), solution("a", "c"))
    world.judge_all()
    world.restart()
    world.turn()
    assert world.status.rounds == 2


def test_a_request_left_while_nothing_ran_is_carried_out_at_the_start(world: World) -> None:
    released(world, "a", "b", "c")
    write_request(world.home.requests, Request("forget", "b"))

    world.restart()
    world.turn()

    assert world.status.contributions == 2
    assert find_requests(world.home.requests) == []


def test_a_request_that_is_damaged_or_about_no_one_is_set_aside(world: World) -> None:
    released(world, "a", "b")
    write_request(world.home.requests, Request("forget", "nobody"))
    (world.home.requests / "x.request").write_bytes(b"{")

    world.turn()

    assert find_requests(world.home.requests) == []
    assert world.status.contributions == 2


def test_when_the_rest_gives_an_older_release_again_the_fleet_goes_back_to_it(
    world: World,
) -> None:
    released(world, "a", "b")
    older = world.status.release
    world.join("c")
    world.turn(600_000)
    world.take_release()
    world.turn(2_000)
    contribute(world)
    world.judge_all()
    world.take_release()
    assert world.status.release != older

    ask(world, "forget", "c")
    world.turn()

    assert (world.status.release, world.status.sequence) == (older, 4)
    task = wire.decode_task(world.waiting(wire.Kind.RELEASE)[0].fields)
    assert isinstance(task, wire.Release)
    trusted, _ = world.bundle.verify()
    statement = verify_version(task.statement, trusted=trusted)
    assert (statement.kind, statement.version, statement.sequence) == ("rollback", older, 4)
    world.take_release()
    world.turn(2_000)
    assert world.waiting(wire.Kind.TRAIN)
    world.restart()
    assert world.status.release == older


def test_when_the_last_contribution_is_erased_the_head_is_the_publishers(world: World) -> None:
    released(world, "a", "b")
    ask(world, "forget", "a")
    world.turn()
    world.judge_all()
    world.take_release()
    ask(world, "forget", "b")
    world.turn()

    assert (world.status.release, world.status.sequence) == (world.bundle.version_id, 4)


def test_a_merge_that_stops_half_way_leaves_the_books_free(world: World) -> None:
    released(world, "a", "b")
    books = world.database._engine
    ((holds_for,),) = books.execute("SELECT DISTINCT holds_for FROM contributions")
    found = world.database.contributions.holding_for(holds_for)

    assert next(found).node == node("a")

    world.database.contributions.merged()
    assert next(found).node == node("b")


def test_contributions_of_another_backbone_are_kept_apart(world: World) -> None:
    released(world, "a", "b")
    books = world.database._engine
    ((holds_for,),) = books.execute("SELECT DISTINCT holds_for FROM contributions")
    books.execute("UPDATE contributions SET holds_for = 'old' WHERE device = 'a'")

    found = Contributions(books)

    assert [one.node for one in found.holding_for(holds_for)] == [node("b")]
    assert [one.node for one in found.holding_for("old")] == [node("a")]
