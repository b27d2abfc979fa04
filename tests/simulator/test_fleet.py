"""Real cores in one process: what a fleet learns, and that it learns it again the same way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from headwater import wire
from headwater.errors import BundleError, UnsupportedError
from headwater.settings import Duration
from headwater_agent.events import Label, Record
from headwater_agent.pipeline_settings import (
    LabelRules,
    LearnerSettings,
    PipelineSettings,
    RefineSettings,
)
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.settings import Gate, Rounds, Settings, Updates
from headwater_coordinator.status import Status
from headwater_models.arrays import pack
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.keys import SigningKey
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.signing import sign_version
from headwater_simulator.device import VirtualDevice
from headwater_simulator.fleet import VirtualFleet

MINUTE = 60_000
NOBODY = "0" * 64


def model(folder: Path, seed: int = 0, **chosen: Any) -> Bundle:
    """A forecast of a wave that repeats every twelve minutes, three minutes ahead."""
    spec = ModelSpec(
        **{"kind": "linear", **chosen},
        name="wave",
        task="forecast",
        channels=(Channel(name="level", minimum=-2, maximum=2),),
        grid=Grid(period=Duration(MINUTE), max_gap=Duration(MINUTE)),
        window=4,
        target="level",
        horizon=Duration(3 * MINUTE),
        loss="mse",
        optimiser=Optimiser(learning_rate=0.01, batch=16),
        reserve=Reserve(share=0.2, block=Duration(60 * MINUTE)),
    )
    built = build(spec, np.random.default_rng(seed))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    bundle.save(folder / "model")
    return initialise(Home(folder / "coordinator"), Wishes(bundle=folder / "model"), 0)


def wave(name: str, first: int, count: int) -> list[Record]:
    spoken = np.ones(1, np.bool_)
    return [
        Record(name, t * MINUTE, np.array([np.sin(2 * np.pi * t / 12)], np.float32), spoken)
        for t in range(first, first + count)
    ]


def device(
    bundle: Bundle, name: str = "one", *, learns: bool = True, **learn: Any
) -> VirtualDevice:
    settings = PipelineSettings(learn=LearnerSettings(enabled=learns, batch=8, **learn))
    return VirtualDevice(name, bundle, settings, buffer=1_000)


def settings(pause_minutes: int = 120, **update: Any) -> Settings:
    pause = Duration(pause_minutes * MINUTE)
    rounds = Rounds(pause=pause, check_in=pause, deadline=Duration(MINUTE), learning_rate=0.01)
    gate = Gate(deadline=Duration(MINUTE))
    return Settings(federation=rounds, gate=gate, update=Updates(**update))


def federate(
    folder: Path,
    seed: int,
    minutes: int = 720,
    *,
    kind: str = "linear",
    personal: str = "none",
    update: Mapping[str, Any] = MappingProxyType({}),
    **learn: Any,
) -> tuple[list[VirtualDevice], Status]:
    bundle = model(folder, kind=kind, personal=personal)
    devices = [device(bundle, name, **learn) for name in ("one", "two", "three")]
    home = Home(folder / "coordinator")
    with VirtualFleet(home, settings(**update), devices, np.random.default_rng(seed)) as fleet:
        for start in range(0, minutes, 10):
            for number, one in enumerate(devices):
                one.arrived(wave(one.name, start + number, 10))
            fleet.settle((start + 10) * MINUTE)
        return devices, fleet.status()


def train_task(bundle: Bundle, base: str, number: int = 1) -> wire.Train:
    return wire.Train(task=f"{number:064x}", model=bundle.model_id, base=base, round=1)


def test_a_fleet_holds_rounds_and_releases_what_predicts_better(tmp_path: Path) -> None:
    devices, status = federate(tmp_path, seed=1)

    assert status.rounds >= 4
    assert status.releases >= 3
    assert {one.pipeline.learner.version.name for one in devices} == {status.release}
    assert all(row.accepted >= status.rounds - 2 for row in status.devices)
    for one in devices:
        score = one.pipeline.learner.score
        assert score.recent_released < score.recent_baseline


@pytest.mark.parametrize("compression", ["float16", "int8", "top-k"])
def test_a_fleet_learns_from_compressed_updates_of_bounded_norm(
    tmp_path: Path, compression: str
) -> None:
    for folder in ("plain", "small"):
        (tmp_path / folder).mkdir()
    plain, _ = federate(tmp_path / "plain", seed=1, kind="mlp")
    update = {"compression": compression, "norm_bound": 50.0}
    devices, status = federate(tmp_path / "small", seed=1, kind="mlp", update=update)

    assert status.refusals == []
    assert status.releases >= 2  # the first, and one that passed the gate
    assert sum(d.sent_bytes for d in devices) < sum(d.sent_bytes for d in plain)
    for one in devices:
        score = one.pipeline.learner.score
        assert score.recent_released < score.recent_baseline


def test_contributions_that_grow_with_the_stream_make_a_fleet_too(tmp_path: Path) -> None:
    devices, status = federate(tmp_path, seed=1, training="stream", learning_rate=0.01)

    assert status.releases >= 3
    assert status.refusals == []
    for one in devices:
        score = one.pipeline.learner.score
        assert score.recent_released < score.recent_baseline
        contribution = one.pipeline.learner.contribution
        assert contribution is not None
        assert contribution.examples < one.pipeline.examples.sequence / 2


def test_local_layers_learn_and_never_leave(tmp_path: Path) -> None:
    devices, status = federate(tmp_path, seed=1, personal="blend", learning_rate=0.01)

    assert status.refusals == []
    local = [a.name for a in devices[0].bundle.manifest.arrays if a.merge == "local"]
    assert local
    shared = sum(array.size for array in devices[0].bundle.manifest.shared)
    for one in devices:
        learner = one.pipeline.learner
        assert any(np.abs(learner.personal.parameters[name]).max() > 0 for name in local)
        for name in local:
            np.testing.assert_array_equal(learner.version.weights[name], one.bundle.weights[name])
        reply, vector = one.answer(train_task(one.bundle, learner.version.name), None)
        assert isinstance(reply, wire.Update)
        assert vector is not None
        assert vector.shape == (shared,)


def test_a_fleet_whose_last_layers_are_personal_judges_candidates_with_them(
    tmp_path: Path,
) -> None:
    devices, status = federate(
        tmp_path, seed=1, kind="mlp", personal="head", refine=RefineSettings(epochs=5)
    )

    assert status.refusals == []
    assert status.releases >= 1
    for one in devices:
        score = one.pipeline.learner.score
        assert score.recent_personal < score.recent_baseline


def test_a_device_whose_model_is_solved_learns_from_what_it_gathers(tmp_path: Path) -> None:
    one = device(model(tmp_path, learner="ridge", min_count=50))
    for start in range(0, 800, 10):
        one.arrived(wave("one", start, 10))
    score = one.pipeline.learner.score
    assert score.recent_personal < score.recent_baseline / 4


def test_a_personal_model_refined_from_each_release_is_better_than_one_pass(
    tmp_path: Path,
) -> None:
    errors = []
    for name, epochs in (("once", 0), ("refined", 20)):
        (tmp_path / name).mkdir()
        devices, _ = federate(tmp_path / name, seed=1, refine=RefineSettings(epochs=epochs))
        errors.append([one.pipeline.learner.score.recent_personal for one in devices])
    once, refined = np.array(errors)
    assert (refined < once).all()


def test_the_same_seed_gives_the_same_releases_and_another_one_does_not(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    first, again, other = (
        federate(folder, seed, 400)[1] for folder, seed in zip(folders, (1, 1, 2), strict=True)
    )

    assert first.release == again.release
    assert first.release != other.release


def test_every_reply_passes_the_coordinators_firewall(tmp_path: Path) -> None:
    _, status = federate(tmp_path, seed=3, minutes=400)

    assert status.refusals == []
    assert all(row.online for row in status.devices)


def test_a_device_says_who_it_is_and_what_it_saw(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle)
    one.arrived(wave("one", 0, 30))

    reply, vector = one.answer(wire.CheckIn(), None)

    assert vector is None
    assert isinstance(reply, wire.CheckedIn)
    assert (reply.device, reply.version, reply.records) == ("one", bundle.version_id, 30)
    assert reply.scored > 0


def test_an_update_is_the_difference_to_the_release_it_started_from(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle)
    one.arrived(wave("one", 0, 600))

    reply, difference = one.answer(train_task(bundle, bundle.version_id), None)

    assert isinstance(reply, wire.Update)
    assert reply.loss_after < reply.loss_before
    assert difference is not None
    assert difference.shape == pack(bundle.manifest, bundle.weights).shape
    assert np.any(difference != 0)


def test_updates_are_numbered_and_their_replay_repeats_by_task(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle)
    one.arrived(wave("one", 0, 600))

    answers = [one.answer(train_task(bundle, bundle.version_id, n), None) for n in (1, 1, 2)]

    replies = [reply for reply, _ in answers]
    vectors = [vector for _, vector in answers if vector is not None]
    assert [r.sequence for r in replies if isinstance(r, wire.Update)] == [1, 2, 3]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.any(vectors[0] != vectors[2])


def test_what_cannot_be_done_is_declined(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle)
    vector = pack(bundle.manifest, bundle.weights)
    judge = wire.Evaluate(
        task=NOBODY,
        model=bundle.model_id,
        candidate=NOBODY,
        release=bundle.version_id,
        round=1,
        statement="",
    )

    early, _ = one.answer(train_task(bundle, bundle.version_id), None)
    lost, _ = one.answer(train_task(bundle, NOBODY), None)
    unjudged, _ = one.answer(judge, vector)

    assert isinstance(early, wire.Declined)
    assert isinstance(lost, wire.Declined)
    assert isinstance(unjudged, wire.Declined)
    assert [early.reason, lost.reason, unjudged.reason] == [
        "too-few-examples",
        "unknown-base",
        "too-few-examples",
    ]


def test_a_candidate_is_judged_on_the_reserved_blocks_alone(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle)
    one.arrived(wave("one", 0, 3_000))
    same = pack(bundle.manifest, bundle.weights)
    task = wire.Evaluate(
        task=NOBODY,
        model=bundle.model_id,
        candidate=bundle.version_id,
        release=bundle.version_id,
        round=1,
        statement="",
    )

    reply, _ = one.answer(task, same)

    assert isinstance(reply, wire.Evaluated)
    assert 20 <= reply.rows < 1_000
    assert reply.difference_mean == reply.difference_m2 == 0
    assert reply.loss_candidate == reply.loss_release > 0


def test_a_release_that_a_stranger_signed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    bundle, other = model(tmp_path / "ours"), model(tmp_path / "theirs")
    one = device(bundle)
    assert other.version_statement is not None
    task = wire.Release(
        model=bundle.model_id, version=other.version_id, statement=other.version_statement
    )

    with pytest.raises(BundleError, match="does not delegate"):
        one.answer(task, pack(bundle.manifest, other.weights))


def test_a_device_that_learned_nothing_since_holds_exactly_the_release(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle, learns=False)
    weights = {name: array + 1 for name, array in bundle.weights.items()}
    key = SigningKey.load(Home(tmp_path / "coordinator").release_key)
    statement = sign_version(key, kind="release", model=bundle.model_id, version=NOBODY, sequence=2)
    task = wire.Release(model=bundle.model_id, version=NOBODY, statement=statement)

    reply, _ = one.answer(task, pack(bundle.manifest, weights))

    assert isinstance(reply, wire.Received)
    assert reply.accepted
    personal = one.pipeline.learner.personal.parameters
    for name, array in weights.items():
        assert personal[name].tobytes() == array.tobytes()


def test_a_device_that_starts_again_has_learned_what_an_undisturbed_one_has(
    tmp_path: Path,
) -> None:
    bundle = model(tmp_path)
    disturbed, undisturbed = device(bundle, "one"), device(bundle, "one")
    for one in (disturbed, undisturbed):
        one.arrived(wave("one", 0, 200))
        one.answer(train_task(bundle, bundle.version_id), None)
        one.arrived(wave("one", 200, 50))

    disturbed.restart(PipelineSettings(learn=LearnerSettings(batch=8)))

    learned, wanted = (one.pipeline.learner.personal for one in (disturbed, undisturbed))
    for name, array in wanted.parameters.items():
        assert learned.parameters[name].tobytes() == array.tobytes()


def test_settings_changed_at_a_start_count_from_then_on(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    one = device(bundle, learns=False)
    one.arrived(wave("one", 0, 200))

    one.restart(PipelineSettings(learn=LearnerSettings(refine=RefineSettings(epochs=3))))

    personal = one.pipeline.learner.personal.parameters
    assert any((personal[name] != array).any() for name, array in bundle.weights.items())


def test_what_arrives_leads_to_a_prediction_for_each_whole_window(tmp_path: Path) -> None:
    one = device(model(tmp_path))

    published = one.arrived(wave("one", 0, 10))

    assert [prediction.time for prediction in published] == [t * MINUTE for t in range(3, 10)]
    assert one.arrived([]) == []


def test_a_label_from_outside_makes_an_example_of_the_window_it_names(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    outside = PipelineSettings(labels=LabelRules(outside=True, late=60 * MINUTE))
    one = VirtualDevice("one", bundle, outside, buffer=1_000)

    one.arrived(wave("one", 0, 20))
    unasked = one.pipeline.examples.sequence
    one.arrived([], [Label(value=0.5, stream="one", time=20 * MINUTE)])

    assert one.pipeline.examples.sequence == unasked + 1


def test_a_task_about_a_version_must_bring_its_weights(tmp_path: Path) -> None:
    bundle = model(tmp_path)
    task = wire.Release(model=bundle.model_id, version=NOBODY, statement="")

    with pytest.raises(UnsupportedError, match="weights"):
        device(bundle).answer(task, None)
