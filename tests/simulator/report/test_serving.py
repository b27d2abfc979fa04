"""What agents predicted is shown by group, over time and in all, weighted by labels."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headwater_simulator.report import serving
from headwater_simulator.report.markdown import markdown
from headwater_simulator.report.page import page
from headwater_simulator.report.results import Results, Served
from tests.simulator.report import made


def moment(group: str, hours: int, labels: int, error: float) -> Served:
    return Served(
        time_ms=hours * made.HOUR,
        group=group,
        labels=labels,
        baseline=error + 2,
        released=error + 1,
        personal=error,
        served=error + 0.5,
    )


def results(*served: Served) -> Results:
    return replace(made.results(), served=served)


def test_errors_of_a_group_are_means_over_its_labels() -> None:
    table = serving.table(results(moment("roof", 1, 10, 1.0), moment("roof", 2, 30, 3.0)))

    assert table.headings == ("group", "labels", "baseline", "released", "personal", "served")
    assert table.rows == (("roof", "40", "4.5", "3.5", "2.5", "3"),)


def test_each_group_has_a_plot_the_largest_first_and_the_smallest_are_left_out() -> None:
    groups = [moment(f"g{n}", 1, 10 + n, 1.0) for n in range(serving.MOST_GROUPS + 2)]
    plots = serving.plots(results(*groups))

    assert [plot.title.split(": ")[1] for plot in plots] == ["g7", "g6", "g5", "g4", "g3", "g2"]
    assert {plot.note for plot in plots} == {"2 smaller groups left out."}
    assert [name for _, name in plots[0].legend] == ["baseline", "released", "personal", "served"]


@pytest.mark.parametrize("write", [page, markdown])
def test_tables_have_no_such_section_and_streams_have(write: object) -> None:
    assert callable(write)
    assert "Predictions of the agents" not in write(made.results())
    assert "Predictions of the agents" in write(results(moment("roof", 1, 10, 1.0)))


def test_a_hostile_name_of_a_group_stays_text() -> None:
    shown = page(results(moment(made.HOSTILE, 1, 10, 1.0)))

    assert "<script>" not in shown
