"""What is drawn of a run is what its results say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from headwater_simulator.report import plots
from headwater_simulator.report.plots import MOST_MARKS, MOST_MOMENTS, Plot, thinned
from headwater_simulator.report.results import Results
from headwater_simulator.report.words import size
from tests.simulator.report import made
from tests.simulator.report.drawn import count, described, moments, named

ALL = (
    plots.gains, plots.rounds, plots.presence, plots.attacks, plots.history,
)  # fmt: skip


def test_incidents_are_marked_on_axes_of_time() -> None:
    words = ["2 d: roof is cut off for 6h", "3 d: the season turns on all devices"]
    assert moments(plots.presence(made.results())[0]) == words
    assert moments(plots.history(made.results())[0]) == words
    assert moments(plots.gains(made.results())[0]) == []


def test_so_many_incidents_that_nothing_else_is_seen_are_not_all_marked() -> None:
    run = replace(made.results(), incidents=made.results().incidents * 100)
    assert len(moments(plots.presence(run)[0])) == MOST_MOMENTS


def test_who_gained_lies_below_the_diagonal_and_who_lost_above_it() -> None:
    run = made.results()
    (plot,) = plots.gains(run)
    assert count(plot, "circle", "c1") == sum(group.gained for group in run.groups)
    assert count(plot, "circle", "bad") == sum(group.lost for group in run.groups)
    assert count(plot, "circle", "ring") == sum(device.attacks for device in run.listed)
    assert f"Of {len(run.listed) - 1} devices that are listed, 44 lie below" in described(plot)


def test_staleness_and_bytes_of_each_round_are_drawn() -> None:
    run = made.results()
    drawn = named(plots.rounds(run))
    assert count(drawn["Staleness over rounds"], "circle", "dot") == len(run.rounds)
    assert count(drawn["Bytes up in each round"], "rect", "bar") == len(run.rounds)
    assert size(run.totals.bytes_up) in described(drawn["Bytes up in all"])


def test_neighbours_share_a_mark_where_there_are_more_rounds_than_room() -> None:
    run = made.results(rounds=1_000)
    drawn = named(plots.rounds(run))
    plot = drawn["Bytes up in each round"]
    assert count(plot, "rect", "bar") == 250
    assert plot.note == "A mark stands for up to 4 rounds."
    assert size(run.totals.bytes_up) in described(drawn["Bytes up in all"])
    assert "3 at most" in described(drawn["Staleness over rounds"])


def test_a_short_burst_of_training_is_seen_among_many_moments() -> None:
    run = made.results()
    quiet = [replace(run.presence[1], time_ms=number, training=0) for number in range(5_000)]
    quiet[2_345] = replace(quiet[0], training=7)
    (plot,) = plots.presence(replace(run, presence=tuple(quiet)))
    assert "at most 7 trained at once" in described(plot)


def test_refused_and_accepted_attacks_are_bars_that_say_how_many() -> None:
    (plot,) = plots.attacks(made.results())
    said = [bar.findtext("title") for bar in plot.svg.iter("rect")]
    assert {"16 refused", "4 accepted", "5 refused"} <= set(said)
    assert "sign-flip: 20 sent, 16 refused, 4 accepted." in described(plot)


def test_the_history_has_a_lane_for_each_outcome() -> None:
    run = made.results()
    (plot,) = plots.history(run)
    of_others = sum(not refusal.attacks for refusal in run.refusals)
    assert count(plot, "circle", "c1") == len(run.releases)
    assert count(plot, "circle", "bad") == run.totals.refused_candidates + of_others
    assert count(plot, "circle", "c2") == len(run.refusals) - of_others


@pytest.mark.parametrize("draw", ALL)
def test_nothing_is_drawn_of_nothing(draw: Callable[[Results], tuple[Plot, ...]]) -> None:
    assert draw(made.empty()) == ()


def test_thinning_keeps_both_ends() -> None:
    assert thinned([1, 2, 3]) == [1, 2, 3]
    few = thinned(range(10_000))
    assert (len(few), few[0], few[-1]) == (MOST_MARKS, 0, 9_999)
