"""Tables hold the results' own numbers, a row for each thing, and the same cells in every row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater_simulator.report import tables
from headwater_simulator.report.results import Results
from headwater_simulator.report.tables import Table
from headwater_simulator.report.words import duration, figure, size
from tests.simulator.report import made

ALL = (
    tables.curve, tables.groups, tables.devices, tables.rounds, tables.releases,
    tables.refused_candidates, tables.attacks, tables.refusals, tables.incidents, tables.presence,
    tables.totals,
)  # fmt: skip


@pytest.mark.parametrize("run", [made.results(accuracy=True), made.empty(), made.hostile()])
@pytest.mark.parametrize("table", ALL)
def test_every_row_has_a_cell_below_each_heading(
    table: Callable[[Results], Table], run: Results
) -> None:
    drawn = table(run)
    assert {len(row) for row in drawn.rows} <= {len(drawn.headings)}
    assert all(heading for heading in drawn.headings)


def column(table: Table, heading: str) -> list[str]:
    return [row[table.headings.index(heading)] for row in table.rows]


def test_the_numbers_are_those_of_the_results() -> None:
    run = made.results(accuracy=True)
    assert column(tables.curve(run), "loss") == [figure(point.loss) for point in run.curve]
    assert column(tables.curve(run), "time") == [duration(point.time_ms) for point in run.curve]
    assert column(tables.rounds(run), "accepted") == [str(r.accepted) for r in run.rounds]
    assert column(tables.rounds(run), "took") == ["1 h"] * len(run.rounds)
    assert column(tables.groups(run), "up") == [size(group.bytes_up) for group in run.groups]
    assert column(tables.devices(run), "alone")[4] == "–"  # noqa: RUF001
    assert column(tables.devices(run), "gain")[0] == figure(
        (run.listed[0].alone or 0) - (run.listed[0].last or 0)
    )
    assert ("false refusals", "3") in tables.totals(run).rows
    assert column(tables.refused_candidates(run), "round") == ["3", "11", "19"]


def test_an_accuracy_is_shown_only_where_there_is_one() -> None:
    assert "accuracy" in tables.curve(made.results(accuracy=True)).headings
    assert "accuracy" not in tables.curve(made.results()).headings


def test_a_long_table_is_shortened_in_its_middle_and_says_so() -> None:
    table = tables.rounds(made.results(rounds=100))
    short = table.shortened(7)
    assert column(short, "round") == ["1", "2", "3", "4", "…", "98", "99", "100"]
    assert short.note == "93 rows in the middle are left out; report.json has them."
    assert table.shortened(100) is table


def test_words_and_numbers_are_told_apart() -> None:
    table = tables.releases(made.results())
    assert [table.is_words(c) for c in range(5)] == [False, False, False, False, True]
    assert [tables.groups(made.results()).is_words(c) for c in (0, 1, 11)] == [True, False, False]
