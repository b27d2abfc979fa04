from __future__ import annotations

from headwater_agent.events import Arrived, Label, Row
from headwater_agent.intake import Intake
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.streams import Streams
from tests.agent.model import manifest, record


def joined(event: Arrived) -> Intake:
    intake = Intake()
    list(intake.take(event, Streams(manifest(), PipelineSettings())))
    return intake


def came(intake: Intake) -> list[object]:
    return [item.slot if isinstance(item, Row) else item.id for item in intake.in_order()]


RECORDS = tuple(record(minute) for minute in range(4))
LABELS = (Label(1.0, id="a", receipt=8), Label(1.0, id="b", receipt=9))


def test_rows_and_labels_are_taken_as_they_came() -> None:
    assert came(joined(Arrived(RECORDS, LABELS, (1, 3)))) == [0, "a", 1, 2, "b", 3]
    assert came(joined(Arrived(RECORDS, LABELS, (0, 0)))) == ["a", "b", 0, 1, 2, 3]


def test_a_label_comes_before_a_row_that_is_only_completed_after_it() -> None:
    event = Arrived((record(0, 1.0, None), record(0, None, 2.0)), LABELS, (1, 2))
    assert came(joined(event)) == ["a", 0, "b"]


def test_labels_of_unknown_order_come_last_and_nothing_is_let_go_before_them() -> None:
    intake = joined(Arrived(RECORDS, LABELS))
    assert came(intake) == [0, 1, 2, 3, "a", "b"]
    assert intake.patient
    assert not joined(Arrived(RECORDS, LABELS, (4, 4))).patient
    assert not joined(Arrived(RECORDS)).patient


def test_each_receipt_counts_once() -> None:
    event = Arrived((record(1, receipt=9), record(2, receipt=7), record(3)), LABELS)
    assert list(joined(event).receipts) == [8, 9, 7]


def test_what_touches_no_stream_and_wants_no_receipt_is_nothing() -> None:
    assert joined(Arrived()).empty
    assert not joined(Arrived((record(1),))).empty
    assert not joined(Arrived((), (Label(1.0, id="a"),))).empty


def test_what_comes_in_several_batches_is_taken_in_its_order() -> None:
    intake, streams = Intake(), Streams(manifest(), PipelineSettings())
    list(intake.take(Arrived(RECORDS[:2], LABELS[:1], (1,)), streams))
    list(intake.take(Arrived(RECORDS[2:], LABELS[1:], (0,)), streams))
    assert came(intake) == [0, "a", 1, "b", 2, 3]
    assert not intake.patient
    list(intake.take(Arrived((), LABELS), streams))
    assert intake.patient
