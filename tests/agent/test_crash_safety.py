"""What a device that is killed at any moment still keeps to."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_agent.events import Label, Store, Ticked
from headwater_agent.pipeline_settings import LabelRules, ServeSettings
from headwater_agent.threshold_settings import ThresholdSettings
from tests.agent.model import MINUTE, anomaly, manifest, record, regression
from tests.agent.mortal import Mortal
from tests.agent.stories import Item, stories

OUTSIDE = LabelRules(outside=True, late=60 * MINUTE)
BOUND = 3.0
SERVE = ServeSettings(clip=1.0, excess=BOUND)


class Adversary:
    """Feeds a device so that a served personal model is wrong, and any other time right.

    Each level is the one a horizon before it, where the release was right, or two more, where the
    personal model was.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        model = manifest(window=1, horizon=horizon)
        self.device = Mortal(model, batch=10**6, serve=SERVE)
        self.device.personal = 2.0
        self.levels: list[float] = []
        self.costs: list[float] = []

    def go_on(self, *, spite: bool = True) -> None:
        level = 0.0
        place = len(self.levels) - self.horizon
        if place >= 0:
            wrong = spite and self.device.published[place].served == "personal"
            level = self.levels[place] + (0 if wrong else 2)
            self.costs.append(1.0 if wrong else -1.0)
        self.levels.append(level)
        self.device.receive(record(len(self.levels) - 1, level))

    def promote(self) -> None:
        """Let the personal model come to serve, and leave a checkpoint of that moment."""
        while self.device.pipeline.learner.served.serving == "released":
            assert len(self.levels) < 400
            self.go_on(spite=False)
        self.device.pipeline.learner.changed = True
        self.device.feed(Ticked())
        self.device.commit()

    def excess(self) -> float:
        """What serving the personal model cost, over all that was published and has a label."""
        published = self.device.published
        return sum(
            cost for place, cost in enumerate(self.costs) if published[place].served == "personal"
        )


GROUP = 5
Moment = Literal["", "commit", "die", "backlog"]
spites = st.sampled_from([True, True, True, False])
moments = st.sampled_from(["", "", "", "commit", "die", "backlog"])


@settings(max_examples=50)
@given(st.integers(1, 3), st.lists(st.tuples(spites, moments), min_size=40, max_size=120))
def test_on_no_stream_and_with_no_crash_is_the_excess_above_the_bound_and_what_was_outstanding(
    horizon: int, story: list[tuple[bool, Moment]]
) -> None:
    adversary = Adversary(horizon)
    adversary.promote()
    device = adversary.device
    for spite, moment in story:
        adversary.go_on(spite=spite)
        if moment == "commit" or len(device.unacknowledged) >= GROUP:
            device.commit()
        elif moment:
            device.die(backlog=moment == "backlog")
        assert adversary.excess() <= BOUND + horizon + GROUP


@pytest.mark.parametrize("every", [1, 4, 40])
def test_a_model_that_went_wrong_is_taken_out_of_service_however_often_the_device_dies(
    every: int,
) -> None:
    adversary = Adversary(horizon=1)
    adversary.promote()
    for minute in range(200):
        adversary.go_on()
        adversary.device.commit()
        if minute % every == 0:
            adversary.device.die()
    assert adversary.device.checkpoints == 1
    assert BOUND / 2 <= adversary.excess() <= BOUND + 2
    assert adversary.device.pipeline.learner.served.account.excess == adversary.excess()


def test_what_labels_change_is_stored_with_them_and_only_then() -> None:
    device = Mortal(manifest(window=1, horizon=1), batch=10**6)
    for minute in range(3):
        device.receive(record(minute, 1.0, stream="a"), record(minute, 1.0, stream="b"))
    device.receive(record(0.1, 1.0, stream="a"))
    stored = [entry for entry in device.group if isinstance(entry, Store)]
    assert [[name for name, _ in store.standing] for store in stored] == [
        [],
        ["", "a", "b"],
        ["", "a", "b"],
        [],
    ]


def test_a_reset_is_not_undone_by_a_crash() -> None:
    device = Mortal(manifest(window=1, horizon=1), batch=1)
    for minute in range(6):
        device.receive(record(minute, 2.0 * minute))
    device.feed(Ticked())
    device.commit()
    assert device.pipeline.learner.personal.parameters["w"][0] != 0
    device.personal = float("nan")
    device.receive(record(6, 12.0))
    device.commit()
    device.personal = None
    device.die()
    learner = device.pipeline.learner
    assert (learner.version.name, learner.served.serving) == ("v1", "released")
    learned = [e.sequence for e in device.store.load().examples]
    assert len(learned) == 1  # what came with the reset; the rest was before it
    assert learner.personal.parameters["w"][0] == pytest.approx(2.0 * 1e-3)


def test_a_learning_rate_that_was_raised_is_raised_after_a_crash_too() -> None:
    device = Mortal(manifest(window=1, horizon=1), batch=1)
    for minute in range(9):
        if minute == 4:
            device.pipeline.learner.hurry(50.0, steps=3)
        device.receive(record(minute, 2.0 * minute))
    weight = device.pipeline.learner.personal.parameters["w"].copy()
    device.commit()
    device.die()
    np.testing.assert_array_equal(device.pipeline.learner.personal.parameters["w"], weight)


def outside(*, batch: int = 2, **chosen: Any) -> Mortal:
    """A device whose labels come by themselves."""
    return Mortal(
        msgspec.structs.replace(regression(), window=1), labels=OUTSIDE, batch=batch, **chosen
    )


def at(minute: float, value: float) -> Label:
    return Label(value, stream="tank-1", time=round(minute * MINUTE))


def labels_of(device: Mortal) -> list[float]:
    return [e.label for e in device.store.load().examples]


def test_a_label_that_came_before_a_crash_can_be_corrected_after_it() -> None:
    """The last one before training is learned."""
    device = outside()
    device.receive(record(1, 5.0), record(2, 6.0), at(1, 50.0))
    device.commit()
    device.die()
    device.receive(at(1, 55.0))
    device.commit()
    assert labels_of(device) == [55.0]
    assert (device.pipeline.examples.corrections, device.pipeline.examples.late_corrections) == (
        1,
        0,
    )
    device.receive(at(2, 66.0))
    weight = float(device.pipeline.learner.personal.parameters["w"][0])
    assert weight == pytest.approx((50 + 60) / 2 * 1e-3)


def test_a_correction_after_a_crash_puts_scores_and_account_right() -> None:
    straight, crashed = outside(serve=SERVE), outside(serve=SERVE)
    for device in (straight, crashed):
        device.personal = 1.0
        device.pipeline.learner.served.serving = "personal"
        for minute in range(6):
            device.receive(record(minute, 5.0), at(minute, 5.0))
        device.commit()
    crashed.die()
    for device in (straight, crashed):
        device.receive(at(3, 6.0))
    ours, theirs = crashed.pipeline.learner, straight.pipeline.learner
    assert ours.served == theirs.served
    assert (ours.score, ours.streams) == (theirs.score, theirs.streams)
    assert ours.served.account.excess < 6


def test_a_crash_does_not_shorten_the_time_that_a_label_may_take() -> None:
    device = outside()
    device.receive(record(1, 5.0), record(61, 5.0))
    device.commit()
    device.die()
    device.receive(at(1, 6.0))
    assert device.pipeline.examples.sequence == 1


def test_a_label_that_is_sent_again_after_a_crash_changes_nothing() -> None:
    device = outside(batch=1)
    device.receive(record(1, 5.0), at(1, 50.0))
    device.commit()
    before = device.pipeline.learner.checkpoint(device.pipeline.watch.save())
    device.die()
    device.receive(at(1, 50.0))
    after = device.pipeline.learner.checkpoint(device.pipeline.watch.save())
    assert before.state == after.state


def test_a_label_that_comes_without_records_is_known_to_the_baseline_after_a_crash() -> None:
    crashed = outside(batch=1)
    crashed.receive(record(1, 5.0))
    crashed.receive(at(1, 50.0))
    crashed.commit()
    crashed.die()
    crashed.receive(record(2, 6.0))
    assert crashed.published[2].baseline.tolist() == [50.0]


def test_what_a_label_calls_an_anomaly_after_a_crash_is_no_normal_example() -> None:
    quick = ThresholdSettings(smoothing=1, warm_up=20)
    device = Mortal(anomaly(), batch=100, labels=OUTSIDE, anomaly=quick)
    device.receive(*(record(minute, 1.0) for minute in range(3)))
    device.commit()
    device.die()
    device.receive(at(1, 1.0))
    device.commit()
    assert labels_of(device) == [0, 1, 0]


@given(stories, st.integers(0, 60), st.booleans())
def test_a_crash_between_any_records_and_labels_ends_in_the_undisturbed_state(
    items: list[Item], cut: int, tick: bool
) -> None:
    straight, crashed = outside(serve=SERVE), outside(serve=SERVE)
    for place, item in enumerate(items):
        straight.receive(item)
        if place == cut:
            if tick:
                crashed.feed(Ticked())
            crashed.commit()
            crashed.die()
        crashed.receive(item)
    ours, theirs = crashed.pipeline.learner, straight.pipeline.learner
    np.testing.assert_array_equal(ours.personal.parameters["w"], theirs.personal.parameters["w"])
    assert ours.served == theirs.served
    assert (ours.score, ours.streams) == (theirs.score, theirs.streams)
    assert crashed.published.keys() == straight.published.keys()
