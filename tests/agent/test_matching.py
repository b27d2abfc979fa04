from __future__ import annotations

import numpy as np

from headwater_agent.events import Arrived, Label, Prediction, Record, Refuse
from headwater_agent.examples import Examples
from headwater_agent.intake import Intake
from headwater_agent.labels import Labels
from headwater_agent.learner import new_learner
from headwater_agent.matching import Matching
from headwater_agent.met import Found, Met
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings, ServeSettings
from headwater_agent.predictions import Predictions
from headwater_agent.streams import Streams
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, anomaly, manifest, record, regression, version


class Device:
    """Joins records and predicts every window, as far as matching needs it."""

    def __init__(self, model: Manifest, late: int = 0) -> None:
        learner = new_learner(model, version(), LearnerSettings(), ServeSettings())
        self.labels = Labels(model, late=late)
        self.examples = Examples(model, learner)
        self.matching = Matching(model, self.labels, self.examples)
        self._streams = Streams(model, PipelineSettings())

    def take(
        self,
        *records: Record,
        labels: tuple[Label, ...] = (),
        order: tuple[int, ...] = (),
        threshold: float = np.nan,
    ) -> tuple[list[tuple[int, float]], list[Refuse]]:
        """Return which minutes were labelled with what, and what was refused."""
        event = Arrived(records, labels, order)
        batch = Intake()
        list(batch.take(event, self._streams))
        made = Predictions.of(
            [
                Prediction(
                    f"{cut.row.slot}",
                    cut.row.stream,
                    cut.row.slot * MINUTE,
                    "v",
                    np.ones((3, 1), np.float32),
                    "ok",
                    0,
                    thresholds=(threshold, threshold),
                    marked=cut.marked,
                )
                for cut in batch.joined.cut
            ]
        )
        windows = np.array([cut.window for cut in batch.joined.cut])
        refused: list[Refuse] = []
        matching = self.matching.match(batch, made, windows)
        while True:
            try:
                refused.append(next(matching))
            except StopIteration as stop:
                found: Found = stop.value
                break
        minutes: list[tuple[int, float]] = []
        for item in found:
            assert isinstance(item, Met)
            self.matching.learn_from(item)
            times = item.predictions.times // MINUTE
            minutes += zip(times.tolist(), item.labels, strict=True)
        return minutes, refused


def test_a_row_labels_the_forecast_that_speaks_of_it() -> None:
    device = Device(manifest(window=1, horizon=2))
    found, _ = device.take(*(record(minute, minute) for minute in range(5)))
    assert found == [(0, 2.0), (1, 3.0), (2, 4.0)]
    assert [e.label for e in device.examples.drain().examples] == [2, 3, 4]
    assert len(device.labels) == 2


def test_what_is_held_takes_no_room_of_its_own() -> None:
    device = Device(manifest(window=3, horizon=2), late=10 * MINUTE)
    device.take(*(record(minute, minute) for minute in range(6)))
    held = [entry.window for entry in device.labels.waiting()]
    assert len(held) == 2
    assert np.shares_memory(held[0], held[1])


def test_it_makes_no_difference_how_rows_are_cut_into_batches() -> None:
    records = [record(minute, minute) for minute in range(9)]
    together, in_pieces = (Device(manifest(window=2, horizon=2)) for _ in range(2))
    whole, _ = together.take(*records)
    pieces = [one for item in records for one in in_pieces.take(item)[0]]
    assert pieces == whole


def test_a_label_from_outside_is_for_what_was_predicted_before_it() -> None:
    device = Device(regression(), late=10 * MINUTE)
    rows = [record(minute, minute) for minute in range(4)]
    label = Label(7.0, stream="tank-1", time=3 * MINUTE)
    found, refused = device.take(*rows, labels=(label, label), order=(3, 4))
    assert found == [(3, 7.0)]
    assert [one.reason for one in refused] == ["label"]


def test_a_label_without_meaning_is_refused() -> None:
    device = Device(regression(), late=10 * MINUTE)
    rows = [record(minute, minute) for minute in range(3)]
    label = Label(float("nan"), stream="tank-1", time=2 * MINUTE)
    assert [one.reason for one in device.take(*rows, labels=(label,))[1]] == ["label"]


def test_an_anomaly_model_learns_what_it_does_not_flag_and_no_label_teaches_it_twice() -> None:
    device = Device(anomaly(), late=10 * MINUTE)
    rows = [record(minute, minute) for minute in range(4)]
    device.take(*rows, threshold=2.0)
    assert [e.label for e in device.examples.drain().examples] == [0] * 4
    label = Label(1.0, stream="tank-1", time=3 * MINUTE)
    assert device.take(labels=(label,)) == ([(3, 1.0)], [])
    made = device.examples.drain()
    assert not made.examples
    assert [one.label for one in made.corrections] == [1.0]
    flagged = Device(anomaly(), late=10 * MINUTE)
    flagged.take(*rows, threshold=0.5)
    assert not flagged.examples.drain().examples
