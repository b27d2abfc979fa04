"""What becomes of an owner's wishes in the pipeline, and after a restart."""

from __future__ import annotations

from dataclasses import replace as replaced
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from headwater_agent.drift_settings import DriftSettings
from headwater_agent.events import Effect, Event, Record, Refine, Refined, Released
from headwater_agent.pipeline import Pipeline, Saved
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings, RefineSettings
from headwater_agent.silence import Passed, StreamsSettings
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_agent.wishes import Forget, Pause, Reset, Warm
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, anomaly, classification, manifest, record, version
from tests.agent.test_pipeline import ANYTHING_GOES, Device


def device(model: Manifest | None = None, **chosen: Any) -> Device:
    return Device(model or manifest(), **({"guard": ANYTHING_GOES} | chosen))


def receive(device: Device, *minutes: int, stream: str = "tank-1", level: float = 0.0) -> None:
    for minute in minutes:
        device.receive(record(minute, level or minute % 7, stream=stream))


def restarted(device: Device, **chosen: Any) -> Device:
    """Another process with what was stored, from which erased examples are gone."""
    erased = [pair for store in device.stores for pair in store.erased]
    saved = device.saved()
    kept = [
        example
        for example in saved.examples
        if not any(s in ("", example.stream) and example.sequence <= t for s, t in erased)
    ]
    waiting = [(p, w) for p, w in _waiting(device)]
    again = Device(device_manifest(device), **({"guard": ANYTHING_GOES} | chosen))
    again.run(again.pipeline.restore(_replaced(saved, examples=kept, waiting=waiting)))
    return again


def device_manifest(device: Device) -> Manifest:
    return device.pipeline._manifest


def _waiting(device: Device) -> list[tuple[Any, Any]]:
    """As a store has it: what was predicted and has no score, whatever memory knows."""
    scored = {score.prediction for store in device.stores for score in store.scores}
    window = device_manifest(device).window
    rows = {(row.stream, row.slot): row.values for row in device.rows}
    return [
        (
            made,
            np.stack(
                [rows[made.stream, made.time // MINUTE - back] for back in range(window)][::-1]
            ),
        )
        for made in device.predictions
        if made.id not in scored
    ]


def _replaced(saved: Saved, **changes: Any) -> Saved:
    fields = {name: getattr(saved, name) for name in saved.__dataclass_fields__}
    return Saved(**(fields | changes))


def test_in_a_pause_predictions_and_scores_go_on_and_nothing_is_learned() -> None:
    paused = device()
    receive(paused, 0, 1, 2, 3)
    paused.feed(Pause(on=True))
    receive(paused, 4, 5, 6, 7, 8)
    assert paused.steps == []
    assert len(paused.predictions) == 7
    assert paused.pipeline.learner.score.labels == 5
    assert [made.quality for made in paused.predictions] == ["ok"] * 7
    assert paused.sequences == [1, 2]
    held = [one.time // MINUTE for store in paused.stores for one in store.held]
    assert held == [4, 5, 6]
    assert paused.happened == ["paused"]


def test_after_a_pause_learning_goes_on_with_what_waited_and_without_what_came_in_it() -> None:
    paused = device()
    receive(paused, 0, 1, 2, 3)
    paused.feed(Pause(on=True))
    receive(paused, 4, 5)
    paused.feed(Pause(on=False))
    receive(paused, 6, 7, 8, 9)
    assert paused.happened == ["paused", "resumed"]
    assert [step.batch.time.tolist() for step in paused.steps] == [
        [2 * MINUTE, 3 * MINUTE],
        [6 * MINUTE, 7 * MINUTE],
    ]
    assert [e.time // MINUTE for s in paused.stores for e in s.examples] == [2, 3, 6, 7]


def test_a_pause_that_is_there_already_changes_nothing() -> None:
    paused = device()
    paused.feed(Pause(on=False))
    paused.feed(Pause(on=True))
    paused.feed(Pause(on=True))
    assert paused.happened == ["paused"]


def test_what_was_stored_before_a_pause_waits_through_a_restart_in_it() -> None:
    first = device()
    first.feed(Pause(on=True))
    receive(first, 0, 1)
    first.feed(Pause(on=False))
    receive(first, 2, 3, 4)
    first.feed(Pause(on=True))
    receive(first, 5)
    again = Device(manifest(), guard=ANYTHING_GOES)
    again.feed(Pause(on=True))
    again.run(again.pipeline.restore(first.saved()))
    assert again.steps == []
    again.feed(Pause(on=False))
    receive(again, 6)
    assert len(again.steps) == 1


def test_an_anomaly_models_normal_windows_are_held_back_in_a_pause() -> None:
    paused = device(anomaly())
    paused.feed(Pause(on=True))
    receive(paused, 0, 1)
    assert paused.sequences == []
    assert sum(len(store.held) for store in paused.stores) == 2


def test_what_was_learned_is_forgotten_and_what_waited_is_not_learned() -> None:
    forgetful = device()
    receive(forgetful, *range(9))
    learner = forgetful.pipeline.learner
    assert learner.steps == 2
    assert any(learner.personal.parameters["w"] != learner.version.weights["w"])
    examples = forgetful.pipeline.examples.sequence
    forgetful.feed(Forget())
    assert np.array_equal(learner.personal.parameters["w"], learner.version.weights["w"])
    assert learner.served.serving == "released"
    assert forgetful.stores[-1].erased == (("", examples),)
    assert forgetful.checkpoints[-1].learned_through == examples
    receive(forgetful, 9, 10)
    assert forgetful.sequences[-1] == examples, "what was predicted before is not learned from"
    receive(forgetful, 11, 12)
    assert forgetful.sequences[-2:] == [examples + 1, examples + 2]
    assert len(forgetful.predictions) == 11, "predictions go on all the while"


def test_what_was_forgotten_stays_so_after_a_restart() -> None:
    first = device()
    receive(first, *range(10))
    first.feed(Forget())
    examples = first.pipeline.examples.sequence
    again = restarted(first)
    learner = again.pipeline.learner
    assert learner.steps == first.pipeline.learner.steps == 3
    assert np.array_equal(learner.personal.parameters["w"], learner.version.weights["w"])
    receive(again, 10, 11)
    assert again.sequences == []
    receive(again, 12)
    assert again.sequences == [examples + 1]


def test_a_stream_with_a_new_sensor_begins_anew_and_the_others_go_on() -> None:
    both = device()
    for minute in range(6):
        receive(both, minute)
        receive(both, minute, stream="tank-2")
    both.feed(Reset("tank-1"))
    made = len(both.predictions)
    for minute in range(6, 11):
        receive(both, minute)
        receive(both, minute, stream="tank-2")
    later = [(p.stream, p.time // MINUTE) for p in both.predictions[made:]]
    assert [time for stream, time in later if stream == "tank-1"] == [8, 9, 10]
    assert [time for stream, time in later if stream == "tank-2"] == [6, 7, 8, 9, 10]
    examples = [(e.stream, e.time // MINUTE) for store in both.stores for e in store.examples]
    assert [time for stream, time in examples if stream == "tank-1"] == [2, 3, 8]
    assert [time for stream, time in examples if stream == "tank-2"] == list(range(2, 9))
    assert [store.erased for store in both.stores if store.erased] == [(("tank-1", 4),)]


def test_examples_of_the_old_sensor_that_wait_are_not_learned() -> None:
    slow = device(batch=4)
    receive(slow, *range(6))
    receive(slow, *range(5), stream="tank-2")
    slow.feed(Reset("tank-1"))
    receive(slow, 5, 6, 7, stream="tank-2")
    (step,) = slow.steps
    assert step.batch.time.tolist() == [minute * MINUTE for minute in (2, 3, 4, 5)]


def test_a_reset_holds_after_a_restart() -> None:
    first = device()
    receive(first, *range(6))
    first.feed(Reset("tank-1"))
    receive(first, 6)
    again = restarted(first)
    receive(again, 7)
    assert again.predictions == []
    receive(again, 8)
    assert [p.time // MINUTE for p in again.predictions] == [8]
    receive(again, 9, 10)
    assert [e.time // MINUTE for s in again.stores for e in s.examples] == [8]


def test_a_row_of_the_old_sensor_that_waits_is_stored_as_it_is() -> None:
    halves = device(manifest(hold=2))
    receive(halves, 0, 1)
    halves.receive(record(2, 5.0, None))
    halves.feed(Reset("tank-1"))
    assert halves.rows[-1].slot == 2
    assert halves.rows[-1].values.tolist() == [5.0, 1.0]
    halves.receive(record(2, None, 9.0))
    assert [refused.reason for refused in halves.refused] == ["late"]
    halves.receive(record(3, 4.0, None), record(4, 4.0, 1.0))
    values = {row.slot: row.values for row in halves.rows}
    assert np.isnan(values[3][1]), "nothing of the old sensor is held over"


def test_the_guard_does_not_hold_a_new_sensor_against_the_old_one() -> None:
    guarded = Device(manifest())
    rng = np.random.default_rng(0)
    for minute in range(300):
        guarded.receive(record(minute, 2 + 0.01 * rng.standard_normal()))
    guarded.feed(Reset("tank-1"))
    for minute in range(300, 310):
        guarded.receive(record(minute, 8 + 0.01 * rng.standard_normal()))
    assert not any(mark.time >= 300 * MINUTE for s in guarded.stores for mark in s.marks)


def test_a_new_sensor_at_another_level_is_no_drift() -> None:
    settings = DriftSettings(watch=("inputs", "error"), mean_of=1)
    rng = np.random.default_rng(0)
    for is_new in (False, True):
        watched = device(drift=settings)
        for minute in range(200):
            watched.receive(record(minute, 2 + 0.1 * rng.standard_normal()))
        if is_new:
            watched.feed(Reset("tank-1"))
        for minute in range(200, 260):
            watched.receive(record(minute, 8 + 0.1 * rng.standard_normal()))
        assert bool(watched.alarms) != is_new


class Refining(Device):
    """Answers that there were too few examples whenever it is to refine."""

    def __init__(self) -> None:
        super().__init__(manifest())
        learn = LearnerSettings(refine=RefineSettings(epochs=1))
        settings = PipelineSettings(learn=learn, guard=ANYTHING_GOES)
        self.pipeline = Pipeline(manifest(), version(), settings)
        self.asked: list[str] = []

    def do(self, effect: Effect) -> Event | None:
        if isinstance(effect, Refine):
            self.asked.append(effect.version)
            return Refined(effect.version, None)
        return super().do(effect)


def test_in_a_pause_the_personal_model_is_not_refined() -> None:
    refining = Refining()
    receive(refining, *range(20))
    first = refining.pipeline.learner.version
    refining.feed(Pause(on=True))
    refining.feed(Released(replaced(first, name="v2", sequence=first.sequence + 1), 0))
    receive(refining, *range(20, 40))
    assert refining.asked == [first.name]
    refining.feed(Pause(on=False))
    receive(refining, *range(40, 50))
    assert refining.asked == [first.name, "v2"]


def test_records_that_wait_for_their_clock_are_refused_with_the_old_sensor() -> None:
    doubted = Device(manifest())
    receive(doubted, 0, 1, 2)
    doubted.receive(replace(record(500, 2.0), received=3 * MINUTE))
    doubted.feed(Reset("tank-1"))
    assert [refused.reason for refused in doubted.refused] == ["clock"]


def past(minutes: range, stream: str = "tank-1") -> tuple[Record, ...]:
    made = (record(minute, minute % 7, stream=stream) for minute in minutes)
    return tuple(replace(one, received=one.time) for one in made)


def test_a_stream_with_a_history_predicts_from_its_first_record_on() -> None:
    warm = device()
    warm.feed(Warm("tank-1", past(range(10)), (), 10 * MINUTE))
    assert [row.slot for row in warm.rows] == list(range(10))
    assert (warm.predictions, warm.sequences) == ([], [])
    assert warm.pipeline.records == 0
    receive(warm, 10)
    assert [p.time // MINUTE for p in warm.predictions] == [10]


def test_a_stream_with_rows_is_as_if_its_history_had_come_before_them() -> None:
    late, early = Device(manifest()), Device(manifest())
    late.receive(*past(range(100, 102)))
    late.feed(Warm("tank-1", past(range(102)), (), 100 * MINUTE))
    early.feed(Warm("tank-1", past(range(100)), (), 100 * MINUTE))
    early.receive(*past(range(100, 102)))
    assert [row.slot for row in late.rows] == [100, 101, *range(100)], "stored once each"
    for one in (late, early):
        one.receive(*past(range(102, 104)))
    assert [p.time for p in late.predictions] == [p.time for p in early.predictions][2:]
    ours, theirs = (one.pipeline.streams["tank-1"] for one in (late, early))
    assert ours.rows.progress() == theirs.rows.progress()
    assert ours.guard.save() == theirs.guard.save()


def test_what_waits_for_the_rest_of_its_row_waits_on() -> None:
    waits = device()
    waits.receive(record(10, 5.0, None))
    waits.feed(Warm("tank-1", past(range(10)), (), 10 * MINUTE))
    assert [row.slot for row in waits.rows] == list(range(10))
    waits.receive(record(10, None, 3.0))
    assert waits.rows[-1].values.tolist() == [5, 3]
    assert [p.time // MINUTE for p in waits.predictions] == [10]


def test_history_warms_the_baseline_of_labels() -> None:
    classes = device(classification())
    classes.feed(Warm("tank-1", past(range(3)), (0.0, 1.0, 1.0, 1.0), 3 * MINUTE))
    assert classes.pipeline.streams["tank-1"].baseline.predict().tolist() == [0.25, 0.75, 0]


def test_labels_that_came_already_are_newer_than_those_of_the_history() -> None:
    last = device(msgspec.structs.replace(classification(), baseline="persistence"))
    last.pipeline.streams["tank-1"].baseline.labelled(2.0)
    last.feed(Warm("tank-1", past(range(3)), (0.0, 1.0), 3 * MINUTE))
    assert last.pipeline.streams["tank-1"].baseline.predict().tolist() == [0, 0, 1]


def test_thresholds_outlive_a_warming() -> None:
    warm, cold = (device(anomaly(), anomaly=ThresholdSettings(warm_up=5)) for _ in range(2))
    for one in (warm, cold):
        receive(one, *range(30))
    warm.feed(Warm("tank-1", past(range(-10, 30)), (), 0))
    for one in (warm, cold):
        receive(one, 30)
    assert np.isfinite(cold.predictions[-1].thresholds).all()
    assert warm.predictions[-1].thresholds == cold.predictions[-1].thresholds


def test_history_sets_thresholds_that_are_not_set_and_is_stored_with_them() -> None:
    settings = ThresholdSettings(warm_up=5)
    warm, lived = (device(anomaly(), anomaly=settings) for _ in range(2))
    receive(warm, *range(30, 34))
    receive(lived, *range(35))
    assert np.isnan(warm.predictions[-1].thresholds).all()
    warm.feed(Warm("tank-1", past(range(34)), (), 30 * MINUTE))
    assert len(warm.predictions) == 4 - device_manifest(warm).window + 1, "nothing is published"
    assert dict(warm.stores[-1].progress) == {"tank-1": warm.pipeline.streams["tank-1"].progress()}
    receive(warm, 34)
    assert np.isfinite(warm.predictions[-1].thresholds).all()
    assert warm.predictions[-1].thresholds[0] == lived.predictions[-1].thresholds[0]


def test_history_warms_the_drift_detectors_and_raises_no_alarm() -> None:
    settings = DriftSettings(watch=("inputs",), mean_of=1, quiet=DriftSettings().quiet)
    rng = np.random.default_rng(0)
    history = tuple(
        replace(record(m, 2 + 0.1 * rng.standard_normal()), received=m * MINUTE) for m in range(200)
    )
    warm, cold = device(drift=settings), device(drift=settings)
    warm.feed(Warm("tank-1", history, (), 200 * MINUTE))
    assert warm.alarms == []
    for one in (warm, cold):
        for minute in range(200, 260):
            one.receive(record(minute, 8.0))
    assert {alarm.channel for alarm in warm.alarms} == {"level"}
    assert cold.alarms == []


def test_after_a_restart_the_history_is_in_the_window() -> None:
    first = device()
    first.feed(Warm("tank-1", past(range(10)), (), 10 * MINUTE))
    again = device()
    saved = first.saved()
    again.run(again.pipeline.restore(saved))
    receive(again, 10)
    assert len(again.predictions) == 1


def test_a_stream_that_falls_silent_raises_one_alarm_and_one_all_clear() -> None:
    quiet = device(streams=StreamsSettings())
    receive(quiet, 0, 1, 2)
    for seconds in (1, 300, 299, 1, 600):
        quiet.feed(Passed(seconds))
    (alarm,) = quiet.alarms
    assert (alarm.stream, alarm.detector, alarm.channel) == ("tank-1", "silence", "")
    assert (alarm.time, alarm.value, alarm.before) == (2 * MINUTE, 600, 0)
    assert len(quiet.predictions) == 1, "nothing is predicted from nothing"
    receive(quiet, 3)
    quiet.feed(Passed(1))
    assert (quiet.alarms[-1].value, quiet.alarms[-1].before) == (0, 1201)
    assert quiet.happened == ["heard"]
    assert quiet.pipeline.watch.alarms == 0, "silence is no drift"


def test_a_stream_that_was_silent_before_a_restart_is_still_missed() -> None:
    first = device()
    receive(first, 0, 1, 2)
    again = device()
    again.run(again.pipeline.restore(first.saved()))
    again.feed(Passed(1))
    again.feed(Passed(600))
    assert [alarm.stream for alarm in again.alarms] == ["tank-1"]


def test_rows_without_a_record_in_them_are_not_predicted() -> None:
    gaps = device(manifest(hold=3))
    receive(gaps, 0, 1, 2)
    gaps.receive(record(5, 1.0))
    assert [p.time // MINUTE for p in gaps.predictions] == [2, 5]
    assert [row.slot for row in gaps.rows] == [0, 1, 2, 3, 4, 5]


def test_records_by_a_clock_that_is_not_set_are_predicted_and_never_learned() -> None:
    timeless = device()
    for minute in range(4):
        made = record(minute)
        timeless.receive(msgspec.structs.replace(made, marked=made.present))
    receive(timeless, *range(4, 9))
    assert [p.time // MINUTE for p in timeless.predictions] == list(range(2, 9))
    assert [e.time // MINUTE for s in timeless.stores for e in s.examples] == [6]
    assert [one.time // MINUTE for s in timeless.stores for one in s.held] == [2, 3, 4, 5]
    assert not np.isnan([row.values for row in timeless.rows]).any()
