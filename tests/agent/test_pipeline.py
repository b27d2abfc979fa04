from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import cycle
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.drift_settings import DriftSettings, React
from headwater_agent.events import (
    Alarm,
    Arrived,
    Checkpoint,
    Effect,
    Event,
    Happened,
    Infer,
    Inferred,
    Label,
    Prediction,
    Publish,
    Record,
    Refuse,
    Released,
    Row,
    Settle,
    Store,
    Study,
    Taken,
    Ticked,
    Train,
    Trained,
    Warn,
)
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline import Pipeline, Saved, carry_out
from headwater_agent.pipeline_settings import (
    LabelRules,
    LearnerSettings,
    PipelineSettings,
    ServeSettings,
)
from headwater_agent.silence import Passed
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_agent.wishes import Wish
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, anomaly, arrived, manifest, record, regression, version
from tests.agent.stories import Item, cut
from tests.agent.stories import stories as told

NAN = float("nan")
ANYTHING_GOES = GuardSettings(enabled=False)


class Device:
    """Carries effects out in memory with a model simple enough to follow by hand.

    The prediction is the last level plus the first weight; a training step adds the mean error.
    """

    def __init__(self, settings: Manifest, *, batch: int = 2, **chosen: Any) -> None:
        self.pipeline = Pipeline(
            settings, version(), PipelineSettings(learn=LearnerSettings(batch=batch), **chosen)
        )
        self.happened: list[str] = []
        self.alarms: list[Alarm] = []
        self.predictions: list[Prediction] = []
        self.stores: list[Store] = []
        self.steps: list[Train] = []
        self.refused: list[Refuse] = []
        self.checkpoints: list[Checkpoint] = []

    def receive(self, *records: Record) -> None:
        self.feed(Arrived(records))

    def feed(self, event: Event | Wish | Passed) -> None:
        self.run(self.pipeline.feed(event))

    def run(self, effects: Iterable[Effect]) -> None:
        carry_out(self.pipeline, effects, self.do)

    def do(self, effect: Effect) -> Event | None:
        match effect:
            case Infer(windows, parameters):
                last = windows.values[:, -1, :1]
                return Inferred(windows, {m: last + a["w"][0] for m, a in parameters.items()})
            case Train(batch, parameters, state):
                self.steps.append(effect)
                for part, _ in effect.steps():
                    error = (part.label[:, 0] - part.window[:, -1, 0] - parameters["w"][0]).mean()
                    parameters = {"w": parameters["w"] + np.float32(error)}
                return Trained(parameters, state, np.zeros(len(batch.weight), np.float32))
            case Publish(predictions):
                self.predictions.extend(predictions)
            case Store():
                self.stores.append(effect)
            case Refuse():
                self.refused.append(effect)
            case Checkpoint():
                self.checkpoints.append(effect)
            case Happened(kind):
                self.happened.append(kind)
            case Warn(alarms):
                self.alarms.extend(alarms)
        return None

    @property
    def rows(self) -> list[Row]:
        return [row for store in self.stores for row in store.rows]

    @property
    def labelled(self) -> list[tuple[int, str, int, float]]:
        """Examples with their last label."""
        corrected = {c.sequence: c.label for store in self.stores for c in store.corrections}
        return [
            (e.sequence, e.stream, e.time, corrected.get(e.sequence, e.label))
            for store in self.stores
            for e in store.examples
        ]

    @property
    def sequences(self) -> list[int]:
        return [example.sequence for store in self.stores for example in store.examples]

    def saved(self) -> Saved:
        """What a store would give back now."""
        checkpoint = self.checkpoints[-1] if self.checkpoints else None
        through = checkpoint.learned_through if checkpoint else 0
        examples = [example for store in self.stores for example in store.examples]
        return Saved(
            checkpoint=checkpoint.state if checkpoint else None,
            progress=tuple(dict(p for store in self.stores for p in store.progress).items()),
            standing=tuple(dict(p for store in self.stores for p in store.standing).items()),
            rows=self.rows,
            waiting=[(e.prediction, e.window) for e in self.pipeline.labels.waiting()],
            examples=[example for example in examples if example.sequence > through],
            sequence=max([example.sequence for example in examples], default=0),
        )


def test_a_prediction_is_made_for_each_full_window() -> None:
    device = Device(manifest(window=3))
    device.receive(*(record(n, n) for n in range(5)))
    assert [p.time // MINUTE for p in device.predictions] == [2, 3, 4]
    assert [float(p.released[0]) for p in device.predictions] == [2, 3, 4]


def test_released_personal_and_baseline_meet_the_same_labels() -> None:
    device = Device(manifest(window=1, horizon=2), batch=1)
    for n in range(6):
        device.receive(record(n, 2 * n))
    score = device.pipeline.learner.score
    assert score.labels == 4
    assert score.baseline == score.released == 4
    assert score.personal < score.released


def test_a_label_is_never_learned_from_before_its_prediction_is_scored() -> None:
    """All records come in one batch: every prediction is made with the first parameters."""
    device = Device(manifest(window=1, horizon=2), batch=1)
    device.receive(*(record(n, 2 * n) for n in range(6)))
    score = device.pipeline.learner.score
    assert score.personal == score.released == 4
    assert device.pipeline.learner.steps == 4


def test_memorising_the_last_label_gains_nothing_at_a_horizon_of_six() -> None:
    """A level that is pure noise from hour to hour: a memoriser cannot beat the release."""
    levels = np.random.default_rng(1).uniform(0, 10, 3_000)
    device = Device(manifest(window=1, horizon=6), batch=1)
    for n, level in enumerate(levels):
        device.receive(record(n, float(level)))
    score = device.pipeline.learner.score
    assert score.labels > 2_900
    assert score.personal > score.released


def test_each_record_is_acknowledged_with_what_it_led_to() -> None:
    device = Device(manifest(window=1, horizon=1))
    device.receive(record(1, receipt=11), record(2, receipt=12))
    (store,) = device.stores
    assert store.receipts == (11, 12)
    assert len(store.rows) == len(store.predictions) == 2
    assert [score.prediction for score in store.scores] == [device.predictions[0].id]


def test_a_record_that_waits_for_the_rest_of_its_row_can_be_acknowledged() -> None:
    device = Device(manifest(window=1))
    device.receive(record(1, 5, None, receipt=11))
    (store,) = device.stores
    assert store.receipts == (11,)
    again = Device(manifest(window=1))
    again.run(again.pipeline.restore(device.saved()))
    again.receive(record(1.5, None, 6))
    assert again.rows[0].values.tolist() == [5, 6]


def test_a_repeated_record_is_refused_and_still_acknowledged() -> None:
    device = Device(manifest(window=1))
    device.receive(record(1, receipt=11))
    device.receive(record(1, receipt=12))
    (refused,) = device.refused
    assert refused.reason == "duplicate"
    assert [store.receipts for store in device.stores] == [(11,), (12,)]
    assert len(device.predictions) == 1


def test_a_receipt_that_records_share_comes_back_once_and_with_all_of_them() -> None:
    device = Device(manifest(window=1))
    device.receive(record(2, receipt=11))
    device.receive(record(1, receipt=12), record(3, receipt=12), record(4, receipt=12))
    assert len(device.refused) == 1
    assert [store.receipts for store in device.stores] == [(11,), (12,)]
    assert [row.slot for row in device.stores[-1].rows] == [3, 4]


def test_a_window_that_is_mostly_missing_is_not_predicted() -> None:
    device = Device(manifest(window=2))
    device.receive(record(1, 5, 5), record(2, NAN, NAN), record(3, NAN, 1))
    assert device.predictions == []


def test_missing_cells_degrade_the_quality() -> None:
    device = Device(manifest(window=2))
    device.receive(record(1, 5, 5), record(2, 5, 5), record(3, 5, NAN), record(4, 5, NAN))
    assert [p.quality for p in device.predictions] == ["ok", "ok", "degraded"]


def test_reserved_blocks_are_stored_but_not_learned_from() -> None:
    device = Device(manifest(window=1, horizon=1, share=0.4, block=10), batch=1)
    device.receive(*(record(n) for n in range(600)))
    examples = [example for store in device.stores for example in store.examples]
    reserved = {example.time for example in examples if example.reserved}
    assert reserved
    learned = {int(time) for step in device.steps for time in step.batch.time}
    assert learned == {example.time for example in examples} - reserved


def test_the_same_window_and_version_give_the_same_id() -> None:
    ids = []
    for sequence in (1, 1, 2):
        device = Device(manifest(window=1))
        device.feed(Released(version(sequence), merged=0))
        device.receive(record(1))
        ids.append(device.predictions[0].id)
    assert ids[0] == ids[1] != ids[2]


def test_a_release_serves_from_the_next_batch_on() -> None:
    device = Device(manifest(window=1))
    device.receive(record(1, 1))
    device.feed(Released(version(2, (5, 0)), merged=0))
    device.receive(record(2, 1))
    assert [(p.version, float(p.released[0])) for p in device.predictions] == [("v1", 1), ("v2", 6)]


def test_one_update_released_back_leaves_personal_equal_to_the_release() -> None:
    device = Device(manifest(window=1, horizon=1), batch=1)
    device.receive(*(record(n, n * n) for n in range(9)))
    device.feed(Taken(1))
    device.feed(Released(version(2, (3, 4)), merged=1))
    device.receive(record(9, 5))
    last = device.predictions[-1]
    np.testing.assert_array_equal(last.personal, last.released)


def test_a_tick_checkpoints_only_what_changed() -> None:
    device = Device(manifest(window=1, horizon=1), batch=1)
    device.feed(Ticked())
    assert device.checkpoints == []
    device.receive(*(record(n) for n in range(3)))
    device.feed(Ticked())
    device.feed(Ticked())
    assert len(device.checkpoints) == 1


OUTSIDE = LabelRules(outside=True, late=60 * MINUTE)


def at(minute: int, value: float, receipt: int = 0) -> Label:
    return Label(value, stream="tank-1", time=minute * MINUTE, receipt=receipt)


def outside(*, batch: int = 2, **chosen: Any) -> Device:
    """A device whose labels come by themselves."""
    model = msgspec.structs.replace(regression(), window=1)
    return Device(model, batch=batch, labels=OUTSIDE, **chosen)


def test_a_label_from_outside_makes_an_example_of_its_window() -> None:
    device = outside()
    device.receive(record(1, 5), record(2, 6))
    device.feed(Arrived(labels=(at(1, 50), at(2, 60))))
    (step,) = device.steps
    assert step.batch.window[:, 0, 0].tolist() == [5, 6]
    assert step.batch.label[:, 0].tolist() == [50, 60]


def test_a_label_and_its_receipt_go_into_the_store_together() -> None:
    device = outside()
    device.receive(record(1, 5))
    device.feed(Arrived(labels=(at(1, 50, receipt=7),)))
    store = device.stores[-1]
    assert store.receipts == (7,)
    assert [score.label for score in store.scores] == [50]


def test_a_label_that_nothing_waits_for_is_refused_and_its_receipt_given_back() -> None:
    device = outside()
    device.receive(record(1, 5))
    device.feed(Arrived(labels=(at(40, 50, receipt=7),)))
    assert [refusal.reason for refusal in device.refused] == ["label"]
    assert device.stores[-1].receipts == (7,)


def test_of_several_labels_the_last_before_training_is_learned() -> None:
    device = outside()
    device.receive(record(1, 5), record(2, 6))
    device.feed(Arrived(labels=(at(1, 50),)))
    device.feed(Arrived(labels=(at(1, 55),)))
    device.feed(Arrived(labels=(at(2, 60),)))
    (step,) = device.steps
    assert step.batch.label[:, 0].tolist() == [55, 60]
    assert device.pipeline.examples.corrections == 1


def test_a_correction_in_the_same_message_as_the_label_counts() -> None:
    device = outside(batch=1)
    device.receive(record(1, 5))
    device.feed(Arrived(labels=(at(1, 50), at(1, 55))))
    (step,) = device.steps
    assert step.batch.label[:, 0].tolist() == [55]


def test_a_correction_after_training_is_counted_and_the_score_put_right() -> None:
    device = outside(batch=1)
    device.receive(record(1, 5))
    device.feed(Arrived(labels=(at(1, 7),)))
    device.receive(record(2, 5))
    device.feed(Arrived(labels=(at(2, 9),)))
    device.feed(Arrived(labels=(at(2, 6),)))
    learner = device.pipeline.learner
    assert (device.pipeline.examples.corrections, device.pipeline.examples.late_corrections) == (
        1,
        1,
    )
    assert len(device.steps) == 2
    assert learner.score.labels == 1  # the first label had no baseline to compare with
    assert (learner.score.baseline, learner.score.released) == (1, 1)
    (correction,) = device.stores[-1].corrections
    assert (correction.sequence, correction.label) == (2, 6)


def test_a_label_later_than_the_limit_is_refused() -> None:
    device = outside()
    device.receive(record(1, 5))
    device.receive(record(62, 5), msgspec.structs.replace(record(63, 5), received=5_000))
    device.feed(Arrived(labels=(at(1, 50),)))
    assert [refusal.reason for refusal in device.refused] == ["label"]


def test_a_prediction_waits_for_its_label_through_a_restart() -> None:
    first, second = outside(batch=1), outside(batch=1)
    first.receive(record(1, 5))
    second.run(second.pipeline.restore(first.saved()))
    second.feed(Arrived(labels=(at(1, 50),)))
    (step,) = second.steps
    assert (step.batch.window[0, 0, 0], step.batch.label[0, 0]) == (5, 50)


def test_a_personal_model_that_is_better_comes_to_serve() -> None:
    """The level rises by one a minute, which the personal model learns at once."""
    device = Device(manifest(window=1, horizon=1), batch=1, guard=ANYTHING_GOES)
    for minute in range(600):
        device.receive(record(minute, minute))
    assert device.happened == ["promoted"]
    served = [p.served for p in device.predictions]
    assert (served[0], served[-1]) == ("released", "personal")
    assert served == sorted(served, reverse=True)


def test_whoever_serves_the_release_alone_sees_no_other() -> None:
    settings = ServeSettings(personal=False)
    device = Device(manifest(window=1, horizon=1), batch=1, serve=settings, guard=ANYTHING_GOES)
    for minute in range(300):
        device.receive(record(minute, minute))
    assert {p.served for p in device.predictions} == {"released"}


def test_predictions_that_are_not_finite_reset_the_personal_model() -> None:
    device = Device(manifest(window=1))
    device.pipeline.learner.personal.parameters = {"w": np.array([NAN, 0], np.float32)}
    device.pipeline.learner.served.serving = "personal"
    device.receive(record(1, 5))
    assert device.happened == ["reset"]
    assert device.predictions[0].served == "released"
    device.receive(record(2, 5))
    assert np.isfinite(device.predictions[1].personal).all()


QUICK = ThresholdSettings(smoothing=1, warm_up=20)


def detector(**chosen: Any) -> Device:
    """A device whose score of a window is its last level plus what it learned."""
    return Device(anomaly(), batch=4, anomaly=QUICK, **chosen)


def test_an_anomaly_model_learns_the_windows_that_it_does_not_flag() -> None:
    device = detector()
    device.receive(*(record(n, 1.0) for n in range(40)))
    device.receive(record(40, 9.0), record(41, 1.0), record(42, 1.0))
    strange = device.predictions[40]
    assert 1.0 < strange.thresholds[0] < 9.0
    examples = [example for store in device.stores for example in store.examples]
    assert 40 * MINUTE not in {example.time for example in examples}
    assert len(examples) == 42
    assert {example.label for example in examples} == {0.0}


def test_what_a_label_calls_an_anomaly_is_not_learned() -> None:
    device = detector(labels=OUTSIDE)
    device.receive(record(0, 1.0), record(1, 1.0), record(2, 1.0))
    device.feed(Arrived(labels=(at(1, 1), at(2, 0))))
    device.receive(record(3, 1.0))
    (step,) = device.steps
    assert step.batch.weight.tolist() == [1, 0, 1, 1]
    (correction,) = [c for store in device.stores for c in store.corrections]
    assert (correction.sequence, correction.label) == (2, 1)


def test_the_threshold_goes_through_a_restart() -> None:
    first, second = detector(), detector()
    first.receive(*(record(n, 1.0) for n in range(40)))
    second.run(second.pipeline.restore(first.saved()))
    for device in (first, second):
        device.receive(record(40, 1.0))
    assert first.predictions[-1].thresholds[0] == second.predictions[-1].thresholds[0]


values = st.one_of(st.floats(0, 10, width=16), st.just(NAN))
streams = st.sampled_from(["tank-1", "tank-2"])
stories = st.lists(
    st.builds(
        lambda minute, level, stream: record(minute, level, 1.0, stream=stream),
        st.integers(0, 60),
        values,
        streams,
    ),
    min_size=1,
    max_size=80,
).map(lambda items: sorted(items, key=lambda item: item.time))


@given(stories, st.integers(0, 80), st.booleans())
def test_a_restart_at_any_record_ends_in_the_undisturbed_learning_state(
    items: list[Record], cut: int, tick: bool
) -> None:
    settings = manifest(window=2, horizon=2, hold=1)
    straight, first, second = Device(settings), Device(settings), Device(settings)
    for item in items:
        straight.receive(item)
    for item in items[:cut]:
        first.receive(item)
    if tick:
        first.feed(Ticked())
    second.run(second.pipeline.restore(first.saved()))
    for item in items[cut:]:
        second.receive(item)
    assert first.sequences + second.sequences == straight.sequences
    ours, theirs = second.pipeline.learner, straight.pipeline.learner
    np.testing.assert_array_equal(ours.personal.parameters["w"], theirs.personal.parameters["w"])
    assert ours.served == theirs.served
    assert (ours.score, ours.streams) == (theirs.score, theirs.streams)
    assert [p.id for p in first.predictions + second.predictions] == [
        p.id for p in straight.predictions
    ]


settled = st.lists(st.booleans(), min_size=1, max_size=9)
"""Which batches are settled at once, over and over again."""


@given(stories, st.lists(st.integers(1, 9), max_size=80), settled)
def test_how_records_are_cut_into_batches_and_when_they_are_settled_changes_nothing(
    items: list[Record], sizes: list[int], settles: list[bool]
) -> None:
    settings = manifest(window=2, horizon=2, hold=1)
    one_by_one, batched = Device(settings), Device(settings)
    for item in items:
        one_by_one.receive(item)
    start = 0
    for size, settle in zip([*sizes, len(items)], cycle(settles), strict=False):
        batched.feed(Arrived(tuple(items[start : start + size]), settle=settle))
        start += size
    batched.feed(Settle())
    batched.feed(Study(1_000))
    assert batched.sequences == one_by_one.sequences
    assert [(r.stream, r.slot) for r in batched.rows] == [
        (r.stream, r.slot) for r in one_by_one.rows
    ]
    assert [p.id for p in batched.predictions] == [p.id for p in one_by_one.predictions]


def test_a_prediction_goes_out_before_anything_is_settled() -> None:
    device = Device(manifest(window=1, horizon=1), batch=1)
    for minute in range(3):
        device.feed(Arrived((record(minute, receipt=minute + 1),), settle=False))
    assert len(device.predictions) == 3
    assert (device.stores, device.steps) == ([], [])
    device.feed(Settle())
    (store,) = device.stores
    assert store.receipts == (1, 2, 3)
    assert (len(store.predictions), len(store.examples)) == (3, 2)
    assert device.steps == []
    device.feed(Study(1))
    assert len(device.steps) == 1
    device.feed(Settle())
    assert len(device.stores) == 1


@pytest.mark.parametrize("event", [Taken(1), Released(version(2), 0), Ticked()])
def test_what_changes_the_models_comes_after_what_was_received(event: Event) -> None:
    device = Device(manifest(window=1, horizon=1), batch=1)
    device.feed(Arrived((record(0, receipt=1), record(1, receipt=2)), settle=False))
    device.feed(event)
    assert [store.receipts for store in device.stores] == [(1, 2)]


def reason(refused: Refuse) -> str:
    return refused.reason


@given(told, st.lists(st.integers(1, 9), max_size=60), st.integers(0, 90 * MINUTE), settled)
def test_how_records_and_labels_are_cut_into_batches_changes_no_example_and_refuses_nothing_else(
    items: list[Item], sizes: list[int], tolerance: int, settles: list[bool]
) -> None:
    rules = LabelRules(outside=True, late=60 * MINUTE, tolerance=tolerance)
    model = msgspec.structs.replace(regression(), window=1)
    one_by_one = Device(model, labels=rules, guard=ANYTHING_GOES)
    batched = Device(model, labels=rules, guard=ANYTHING_GOES)
    for item in items:
        one_by_one.feed(arrived(item))
    for batch, settle in zip(cut(items, sizes), cycle(settles), strict=False):
        batched.feed(msgspec.structs.replace(arrived(*batch), settle=settle))
    batched.feed(Settle())
    assert batched.labelled == one_by_one.labelled
    assert Counter(map(reason, batched.refused)) == Counter(map(reason, one_by_one.refused))
    assert [(r.stream, r.slot) for r in batched.rows] == [
        (r.stream, r.slot) for r in one_by_one.rows
    ]


def test_within_a_batch_a_label_is_too_late_for_what_a_record_before_it_left_behind() -> None:
    early, late = outside(guard=ANYTHING_GOES), outside(guard=ANYTHING_GOES)
    early.feed(arrived(record(1, 5), at(1, 50), record(62, 5)))
    late.feed(arrived(record(1, 5), record(62, 5), at(1, 50)))
    assert ([r.reason for r in early.refused], len(early.labelled)) == ([], 1)
    assert ([r.reason for r in late.refused], len(late.labelled)) == (["label"], 0)


@pytest.mark.parametrize("size", [1, 70, 200])
def test_after_an_outage_no_label_is_too_late_that_came_right_after_its_record(
    size: int,
) -> None:
    """Whether or not the order in which they came is known."""
    items: list[Item] = []
    for minute in range(200):
        items += [record(minute + 0.5), at(minute, 1.0)]
    known, unknown = outside(), outside()
    for batch in cut(items, [2 * size] * (200 // size)):
        event = arrived(*batch)
        known.feed(event)
        unknown.feed(msgspec.structs.replace(event, order=()))
    assert len(known.labelled) == 200
    assert (known.refused, unknown.refused) == ([], [])
    assert known.labelled == unknown.labelled


def noisy(device: Device, rng: np.random.Generator, minutes: range, size: float) -> None:
    """Levels that nobody can forecast, around zero."""
    for minute in minutes:
        device.receive(record(minute, size * rng.standard_normal(), 1.0))


def test_errors_that_grow_are_told_and_answered_as_the_owner_chose() -> None:
    react = React(learning_rate=4.0, steps=5, reset=True, retrain=True)
    drift = DriftSettings(mean_of=8, watch=("error",), react=react)
    device = Device(manifest(), drift=drift, guard=ANYTHING_GOES)
    rng = np.random.default_rng(0)
    noisy(device, rng, range(1000), 1.0)
    assert (device.alarms, device.happened) == ([], [])
    steps = len(device.steps)
    noisy(device, rng, range(1000, 1400), 5.0)
    (alarm,) = device.alarms
    assert (alarm.stream, alarm.channel) == ("tank-1", "")
    assert device.happened == ["reset"]
    rates = [rate for run in device.steps[steps:] for rate in run.learning_rates]
    assert sorted({rate / rates[0] for rate in rates}) == [1.0, 4.0]
    assert sum(rate > rates[0] for rate in rates) == 5
    assert (device.pipeline.watch.alarms, device.pipeline.watch.retrain) == (1, True)
    device.feed(Released(version(2), merged=0))
    assert (device.pipeline.watch.alarms, device.pipeline.watch.retrain) == (0, False)


def test_inputs_that_change_are_told_and_by_default_nothing_else_is_done() -> None:
    device = Device(manifest(), drift=DriftSettings(mean_of=8, watch=("inputs",)))
    rng = np.random.default_rng(1)
    for minute in range(1400):
        device.receive(record(minute, 1.0, (5 if minute < 1000 else 9) + rng.standard_normal()))
    assert [alarm.channel for alarm in device.alarms] == ["flow"]
    assert device.alarms[0].time > 1000 * MINUTE
    assert device.happened == []
