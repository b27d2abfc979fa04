"""The shell around the core: what cannot be sent or read is an event like any other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import UnsupportedError
from headwater_coordinator.link import Arrival, MemoryLink, Outgoing
from headwater_coordinator.registry import Registry
from headwater_models.arrays import unpack
from headwater_models.bundle import Bundle
from headwater_models.compression import compress
from headwater_models.graphs.builders import build
from tests.coordinator.world import SETTINGS, World, node, save_bundle
from tests.models.bundles import spec, tiny


def test_a_reply_that_cannot_be_read_is_refused_and_the_round_goes_on(world: World) -> None:
    world.join("a", "b", "c")
    garbage, *others = world.waiting(wire.Kind.TRAIN)
    world.mail.sent.remove(garbage)
    world.mail.arrived.append(Arrival(garbage.ask, b"\xff", world.vector()))
    for task in others:
        world.answer(task, world.update(task), world.vector())
    world.turn()

    (reason,) = world.refusals()
    assert "a message that the protocol lacks" in reason
    assert world.waiting(wire.Kind.EVALUATE)


def test_a_compressed_update_is_merged_as_what_it_stands_for(world: World) -> None:
    world.join("a", "b")
    for task in world.waiting(wire.Kind.TRAIN):
        sent = compress(world.vector(), world.bundle.manifest, "float16")
        world.answer(task, world.update(task), sent)
    world.turn()

    assert world.refusals() == []
    assert world.waiting(wire.Kind.EVALUATE)


def test_compressed_bytes_that_stand_for_nothing_are_refused(world: World) -> None:
    world.join("a", "b")
    task = world.waiting(wire.Kind.TRAIN)[0]
    world.answer(task, world.update(task), np.array([2, 1, 2, 3], np.uint8))
    world.turn()

    (reason,) = world.refusals()
    assert "cannot be read" in reason


def test_a_message_that_breaks_the_transports_rules_is_refused_too(world: World) -> None:
    world.join("a", "b")
    task = world.waiting(wire.Kind.TRAIN)[0]
    world.mail.arrived.append(Arrival(task.ask, failure="The device sent 900 parts."))
    world.turn()

    assert world.refusals() == ["The device sent 900 parts."]


def test_a_reply_of_another_protocol_says_who_must_update(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    (task,) = world.mail.sent
    reply = wire.CheckedIn(
        device="a", model=world.bundle.model_id, version="1" * 64, sequence=1, protocol=9
    )
    world.answer(task, reply)
    world.turn()

    (reason,) = world.refusals()
    assert "update the older of the two" in reason


def test_a_device_that_goes_before_its_task_is_sent_costs_a_round_nothing(world: World) -> None:
    world.join("a", "b", "c")
    for task in world.waiting(wire.Kind.TRAIN):
        world.lose(task)
    world.mail.online.discard(node("c"))
    world.turn()
    world.turn(2_000)

    assert {task.node for task in world.waiting(wire.Kind.TRAIN)} == {node("a"), node("b")}


def test_messages_carry_the_packed_weights_of_the_version_they_speak_of(world: World) -> None:
    world.join("a", "b")
    world.train_all(0.25)
    candidate = world.status.versions[0].version
    for task in world.waiting(wire.Kind.EVALUATE):
        assert task.vector is not None
        np.testing.assert_array_equal(task.vector, world.weights(candidate))
        unpack(world.bundle.manifest, task.vector)
    world.judge_all()
    for task in world.waiting(wire.Kind.RELEASE):
        assert task.vector is not None
        np.testing.assert_array_equal(task.vector, world.weights(candidate))


def test_a_fleet_in_one_process_federates_without_a_network(world: World) -> None:
    link = MemoryLink()

    def respond(task: Outgoing) -> Arrival | None:
        match wire.decode_task(task.fields):
            case wire.CheckIn():
                reply: wire.Reply = world.checked_in(task)
            case wire.Train():
                return Arrival(task.ask, wire.encode(world.update(task)), world.vector(0.1))
            case wire.Evaluate():
                reply = world.evaluated(task)
            case wire.Release():
                reply = world.received(task)
        return Arrival(task.ask, wire.encode(reply))

    link.devices = {node("a"): respond, node("b"): respond}
    world.coordinator._link = link

    for _ in range(20):
        world.turn(1_000)

    assert world.status.sequence >= 4
    expected = world.weights(world.bundle.version_id) + 0.1 * (world.status.sequence - 1)
    np.testing.assert_allclose(world.weights(world.status.release), expected, atol=1e-5)


def test_arrays_that_stay_on_the_devices_are_in_the_candidate_bit_for_bit(tmp_path: Path) -> None:
    built = build(msgspec.structs.replace(spec("mlp"), personal="head"), np.random.default_rng(0))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    world = World(tmp_path, save_bundle(tmp_path, bundle))
    world.join("a", "b")
    world.train_all(0.25)
    candidate = world.status.versions[0].version

    merged = Registry(world.home.versions, bundle.manifest).load(candidate)

    for array in bundle.manifest.arrays:
        change = merged[array.name] - bundle.weights[array.name]
        assert (change == 0).all() == (array.merge == "local")
    world.close()


def test_a_merge_that_gives_no_finite_weights_drops_its_updates_and_goes_on(
    tmp_path: Path,
) -> None:
    table = {"name": "qfedavg", "client_learning_rate": 1.0, "q": 10.0}
    settings = msgspec.structs.replace(SETTINGS, strategy=table)
    world = World(tmp_path, save_bundle(tmp_path, tiny()), settings)
    world.join("a", "b")
    for task in world.waiting(wire.Kind.TRAIN):
        world.answer(task, world.update(task, loss_before=1e200), world.vector())
    world.turn()

    assert not world.waiting(wire.Kind.EVALUATE)
    world.turn(2_000)
    world.train_all()
    assert world.waiting(wire.Kind.EVALUATE)
    world.close()


def test_a_model_of_statistics_with_another_strategy_is_refused_at_start(tmp_path: Path) -> None:
    built = build(msgspec.structs.replace(spec(), learner="ridge"), np.random.default_rng(0))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    settings = msgspec.structs.replace(SETTINGS, strategy={"name": "fedmedian"})
    with pytest.raises(UnsupportedError, match="merge exactly"):
        World(tmp_path, save_bundle(tmp_path, bundle), settings)


def test_the_terms_of_fedprox_go_to_devices_that_can_read_them(tmp_path: Path) -> None:
    table = {"name": "fedprox", "proximal_mu": 0.5, "budget": "2min"}
    settings = msgspec.structs.replace(SETTINGS, strategy=table)
    world = World(tmp_path, save_bundle(tmp_path, tiny()), settings)
    world.mail.online |= {node("new"), node("old")}
    world.turn()
    for task in world.waiting(wire.Kind.CHECK_IN):
        protocol = 2 if task.node == node("new") else 1
        said = msgspec.structs.replace(world.checked_in(task), protocol=protocol)
        world.answer(task, said)
    world.turn()

    asked = {task.node: wire.decode_task(task.fields) for task in world.waiting(wire.Kind.TRAIN)}

    new, old = asked[node("new")], asked[node("old")]
    assert isinstance(new, wire.Train)
    assert (new.proximal_mu, new.budget_ms, new.protocol) == (0.5, 120_000, 2)
    assert isinstance(old, wire.Train)
    assert (old.proximal_mu, old.budget_ms, old.protocol) == (msgspec.UNSET, msgspec.UNSET, 1)
    world.train_all()
    assert world.waiting(wire.Kind.EVALUATE)
    world.close()


def test_fedasync_mixes_in_what_started_at_an_older_release(tmp_path: Path) -> None:
    table = {"name": "fedasync", "alpha": 0.5, "staleness": "constant"}
    settings = msgspec.structs.replace(SETTINGS, strategy=table)
    world = World(tmp_path, save_bundle(tmp_path, tiny()), settings)
    world.join("a", "b", "c")
    late = next(task for task in world.waiting(wire.Kind.TRAIN) if task.node == node("c"))
    for task in world.waiting(wire.Kind.TRAIN):
        if task is not late:
            world.answer(task, world.update(task), world.vector(1.0))
    world.turn(60_000)
    world.judge_all()
    first = world.weights(world.bundle.version_id)
    second = world.weights(world.status.release)
    np.testing.assert_allclose(second, first + 0.75, atol=1e-6)

    world.take_release()
    world.answer(late, world.update(late), world.vector(1.0))
    world.turn(2_000)
    for task in world.waiting(wire.Kind.TRAIN):
        world.lose(task)
    world.turn()
    world.turn(2_000)
    for task in world.waiting(wire.Kind.TRAIN):
        if task.node == node("a"):
            world.answer(task, world.update(task), world.vector(0.0))
    world.turn(60_000)

    (candidate, *_) = (one.version for one in world.status.versions)
    expected = (
        second + (first + 1.0)
    ) / 2  # the late one, then the fresh one, which is the release
    np.testing.assert_allclose(world.weights(candidate), (expected + second) / 2, atol=1e-6)
    world.close()
