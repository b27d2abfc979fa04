from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater_agent import log_writer
from headwater_agent.events import Correction, Example, Prediction, Score, Store
from headwater_agent.log_writer import LogWriter
from headwater_agent.migrations import AGENT, migrate
from headwater_agent.segment_log import CORRECTIONS, JOINED, SCORES, LogReader
from headwater_agent.settings import StoreSettings
from headwater_agent.stored import Records
from tests.agent.making import example, prediction, rows, small_manifest


class Desk:
    """A writer, and what can be read of what it wrote."""

    def __init__(self, **limits: int) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection, AGENT, Path("x"))
        self.records = Records(self.connection, small_manifest(), Path("x"))
        self.log = LogReader(self.connection)
        self.settings = StoreSettings(**limits)  # type: ignore[arg-type]
        self.reopen()

    def reopen(self) -> None:
        self.writer = LogWriter(
            self.connection, small_manifest(), self.settings, self.records, late=0, fingerprints=5
        )

    def write(self, *predictions: Prediction, **more: Sequence[object]) -> dict[str, int]:
        self.writer.append([Store(predictions=predictions, **more)])  # type: ignore[arg-type]
        return self.writer.prune()

    def predictions(self) -> list[Prediction]:
        table = self.records.predictions()
        return list(table.predictions(np.arange(table.columns.shape[1])))

    def labels(self) -> dict[str, float]:
        table = self.records.predictions()
        places = np.flatnonzero(table.scored)
        made = table.predictions(places)
        return {p.id: label for p, label in zip(made, table.labels[places], strict=True)}


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.connection.close()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)


@given(st.lists(st.lists(texts, unique=True, max_size=8), max_size=8))
def test_any_id_comes_back_once_and_is_scored_under_it(groups: list[list[str]]) -> None:
    desk = Desk()
    for ids in groups:
        desk.write(*(replace(prediction(1), id=one) for one in ids))
    known = list(dict.fromkeys(one for ids in groups for one in ids))
    assert [made.id for made in desk.predictions()] == known
    desk.write(scores=tuple(Score(one, float(n)) for n, one in enumerate(known)))
    assert desk.labels() == {one: float(n) for n, one in enumerate(known)}
    desk.connection.close()


def test_every_field_of_a_prediction_comes_back(desk: Desk) -> None:
    made = [
        prediction(3),
        replace(prediction(4, "t"), version="v2", quality="degraded", received=-1),
        replace(prediction(5), served="personal", thresholds=(0.1, float("nan"))),
        replace(prediction(6), marked=True, said=np.array([[np.nan], [1], [2]], np.float32)),
    ]
    desk.write(*made)
    for found, wanted in zip(desk.predictions(), made, strict=True):
        for field in wanted.__struct_fields__:
            assert repr(getattr(found, field)) == repr(getattr(wanted, field))


def test_the_first_of_a_prediction_written_twice_in_a_group_counts(desk: Desk) -> None:
    desk.write(prediction(1, value=1.0), prediction(1, value=2.0), prediction(2))
    assert [made.released[0] for made in desk.predictions()] == [1.0, 1.0]


def test_what_was_written_before_a_restart_is_not_written_again(desk: Desk) -> None:
    desk.write(prediction(1, value=1.0))
    desk.reopen()
    desk.write(prediction(1, value=2.0), prediction(2))
    assert [made.id for made in desk.predictions()] == ["s-1", "s-2"]
    assert desk.predictions()[0].released[0] == 1.0


def test_a_prediction_from_long_ago_is_scored_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "KNOWN", 4)
    for slot in range(50):
        desk.write(prediction(slot))
    assert len(desk.writer._known) <= 5
    desk.write(scores=(Score("s-3", 3.0), Score("nobody", 0.0), Score("s-49", 49.0)))
    assert desk.labels() == {"s-3": 3.0, "s-49": 49.0}


def test_the_last_score_of_a_prediction_counts(desk: Desk) -> None:
    desk.write(prediction(1), scores=(Score("s-1", 1.0), Score("s-1", 2.0)))
    desk.write(scores=(Score("s-1", 1 / 3),))
    assert desk.labels() == {"s-1": 1 / 3}


def test_numbers_go_on_where_they_were_even_when_all_predictions_are_gone(desk: Desk) -> None:
    desk.write(prediction(1), prediction(2), scores=(Score("s-2", 1.0),))
    desk.connection.execute("DELETE FROM segments WHERE kind = 2")
    desk.reopen()
    desk.write(prediction(3))
    assert desk.labels() == {}


def test_values_that_are_not_float32_are_stored_as_such(desk: Desk) -> None:
    desk.write(replace(prediction(1), said=np.array([[1.5], [2], [3]], np.float64)))
    (found,) = desk.predictions()
    assert (found.released.tolist(), found.released.dtype.name) == ([1.5], "float32")


def test_labels_that_are_corrected_without_end_do_not_fill_the_disk() -> None:
    desk = Desk(predictions=10, examples=10)
    desk.write(*(prediction(n) for n in range(5)), examples=tuple(_examples(5)))
    for n in range(2 * JOINED):
        desk.write(scores=(Score("s-2", float(n)),), corrections=(Correction(2, float(n)),))
    for kind in (SCORES, CORRECTIONS):
        assert desk.log.columns(kind).shape[1] <= JOINED + 21
    assert desk.labels() == {"s-2": 2.0 * JOINED - 1}
    assert desk.records.examples(newest=9).labels.tolist()[1] == 2 * JOINED - 1
    desk.connection.close()


def test_scores_and_corrections_go_with_what_they_speak_of() -> None:
    desk = Desk(predictions=20, examples=20)
    for n in range(1, 300):
        desk.write(
            prediction(n),
            scores=(Score(f"s-{n}", 1.0),),
            examples=(example(n, n),),
            corrections=(Correction(n, 1.0),),
        )
    for kind in (SCORES, CORRECTIONS):
        assert desk.log.columns(kind).shape[1] == 20
    desk.connection.close()


def test_what_is_over_a_limit_goes_although_the_agent_starts_again_and_again() -> None:
    desk = Desk(rows=1_000)
    for n in range(200):
        desk.write(rows=rows(range(10 * n, 10 * n + 10)).rows)
        desk.reopen()
    assert desk.records.count_rows(2)[1] <= 1_010
    desk.connection.close()


def test_rows_that_may_still_be_labelled_are_spared() -> None:
    desk = Desk(rows=10)
    desk.write(rows=rows(range(20), "quiet").rows)
    for n in range(30):
        dropped = desk.write(rows=rows(range(10 * n, 10 * n + 10), "busy").rows)
        assert dropped["rows-dropped"] == (10 if n else 5)
    assert desk.records.count_rows(3).tolist() == [0, 5, 10]
    desk.connection.close()


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=7), max_size=12))
def test_the_newest_fingerprints_are_kept(groups: list[list[int]]) -> None:
    desk = Desk()
    for values in groups:
        desk.writer.remember(values)
        desk.writer.prune()
    everything = [value for values in groups for value in values]
    assert desk.writer.fingerprints() == everything[-5:]
    desk.connection.close()


def _examples(count: int) -> list[Example]:
    return [example(n, n + 3) for n in range(1, count + 1)]
