"""Learning curves show each release, in all and by group, with what they are held against."""

from __future__ import annotations

from msgspec.structs import replace

from headwater_simulator.report import curves
from headwater_simulator.report.curves import MOST_LINES
from headwater_simulator.report.plots import MOST_MARKS
from headwater_simulator.report.words import figure
from tests.simulator.report import made
from tests.simulator.report.drawn import count, described, moments, named


def test_learning_is_drawn_over_rounds_and_over_time_in_all_and_by_group() -> None:
    assert list(named(curves.learning(made.results(accuracy=True)))) == [
        "Loss over rounds", "Loss over time", "Accuracy over rounds", "Accuracy over time",
        "Loss of groups over rounds", "Loss of groups over time",
    ]  # fmt: skip
    assert not any("Accuracy" in title for title in named(curves.learning(made.results())))


def test_a_loss_has_its_band_its_baseline_and_a_mark_for_each_release() -> None:
    run = made.results()
    plot = named(curves.learning(run))["Loss over rounds"]
    assert count(plot, "polygon", "band") == 1
    assert count(plot, "polyline", "dashed") == 1
    assert count(plot, "circle", "dot") == len(run.curve)
    assert figure(run.curve[-1].loss) in described(plot)


def test_the_largest_groups_have_a_line_each() -> None:
    run = made.results()
    many = {f"g{number:02}": 20.0 + number for number in range(20)}
    groups = tuple(
        replace(run.groups[0], name=name, devices=place) for place, name in enumerate(many)
    )
    run = replace(
        run, groups=groups, curve=tuple(replace(point, groups=many) for point in run.curve)
    )
    plot = named(curves.learning(run))["Loss of groups over time"]
    assert [name for _, name in plot.legend] == [f"g{n}" for n in range(19, 19 - MOST_LINES, -1)]
    assert len(list(plot.svg.iter("polyline"))) == MOST_LINES
    assert plot.note == "12 smaller groups left out."


def test_incidents_are_marked_where_time_runs_and_nowhere_else() -> None:
    drawn = named(curves.learning(made.results()))
    assert len(moments(drawn["Loss over time"])) == 2
    assert len(moments(drawn["Loss of groups over time"])) == 2
    assert moments(drawn["Loss over rounds"]) == []


def test_a_line_of_very_many_releases_is_thinned() -> None:
    run = made.results(rounds=3_000)
    for plot in curves.learning(run):
        lines = [len((line.get("points") or "").split()) for line in plot.svg.iter("polyline")]
        assert set(lines) == {curves.MOST_POINTS}
        assert count(plot, "circle", "dot") <= MOST_MARKS


def test_nothing_is_drawn_of_nothing() -> None:
    assert curves.learning(made.empty()) == ()
