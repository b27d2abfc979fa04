from __future__ import annotations

import numpy as np

from headwater_agent.events import Floats, Prediction
from headwater_agent.met import Entry, Found, Labelled, Meeting, Met, gather
from headwater_agent.predictions import Predictions


def prediction(number: int) -> Prediction:
    said = np.full((3, 1), number, np.float32)
    return Prediction(f"p{number}", "tank-1", number, "v1", said, "ok", received=0)


def window(number: int) -> Floats:
    return np.full((2, 1), number, np.float32)


def entry(number: int, label: float | None = None) -> Entry:
    return Entry(prediction(number), window(number), label)


def told(found: Found) -> list[tuple[list[str], list[float], list[float]] | tuple[str, float]]:
    """Of each part ids, labels and the windows' numbers; of a correction id and label."""
    return [
        (list(one.predictions.ids), one.labels, one.windows[:, 0, 0].tolist())
        if isinstance(one, Met)
        else (one.entry.prediction.id, one.label)
        for one in found
    ]


def test_first_labels_are_gathered_as_far_as_no_correction_comes_between() -> None:
    first, second, third = entry(1), entry(2), entry(3)
    labels = [Labelled(first, 1.0), Labelled(second, 2.0), Labelled(first, 3.0, 1.0)]
    found = gather([*labels, Labelled(third, 4.0)])
    assert told(found) == [
        (["p1", "p2"], [1.0, 2.0], [1.0, 2.0]),
        ("p1", 3.0),
        (["p3"], [4.0], [3.0]),
    ]
    assert isinstance(found[0], Met)
    assert found[0].entries == [first, second]
    assert gather([]) == []


def test_what_was_held_and_what_was_just_made_meet_in_the_order_of_labels() -> None:
    meeting = Meeting()
    held, labelled, fresh = entry(7), entry(8, 1.0), entry(1)
    made = Predictions.of([prediction(0), prediction(1)])
    meeting.meet(held, 5.0)
    meeting.places.append(0)
    meeting.labels.append(6.0)
    meeting.meet(labelled, 9.0)
    meeting.meet(labelled, 9.0)
    meeting.places.append(1)
    meeting.labels.append(2.0)
    assert meeting.known() == {0: 6.0, 1: 2.0}
    meeting.fresh[1] = fresh
    found = meeting.found(made, np.stack([window(0), window(1)]))
    assert told(found) == [
        (["p7", "p0"], [5.0, 6.0], [7.0, 0.0]),
        ("p8", 9.0),
        (["p1"], [2.0], [1.0]),
    ]
    assert (held.label, labelled.label) == (5.0, 9.0)
    assert [one.entries for one in found if isinstance(one, Met)] == [[held, None], [fresh]]


def test_nothing_is_found_where_nothing_met() -> None:
    assert Meeting().found(Predictions.of(()), np.zeros((0, 2, 1), np.float32)) == []
