"""The figures of a comparison are read from where the results hold them."""

from __future__ import annotations

from msgspec.structs import replace

from headwater_simulator.report.figures import of_devices, of_runs
from headwater_simulator.report.results import Results
from tests.simulator.report import made


def read(run: Results, *others: Results) -> dict[str, float | None]:
    return {figure.name: figure.read(run) for figure in of_runs((run, *others))}


def test_figures_of_a_run_are_its_own() -> None:
    run = made.results(accuracy=True)
    figures = read(run)
    assert figures["loss of the last release on its judges"] == run.curve[-1].loss
    assert figures["accuracy of the last release"] == run.curve[-1].accuracy
    assert figures["accepted updates of attackers"] == 4
    assert figures["bytes up in all"] == run.totals.bytes_up
    assert figures["trainings"] == run.totals.device_rounds


def test_the_time_to_a_loss_is_when_both_runs_had_reached_it() -> None:
    good, bad = made.results(), made.results(seed=2, shift=5)
    end = bad.curve[-1].loss
    name = f"time until the loss was {end:.4g}"
    assert read(good, bad)[name] == next(p.time_ms for p in good.curve if p.loss <= end)
    assert read(bad, good)[name] == next(p.time_ms for p in bad.curve if p.loss <= end)


def test_staleness_is_that_of_updates_and_not_of_rounds() -> None:
    run = made.results(rounds=2)
    few, many = (
        replace(entry, accepted=accepted, staleness_mean=staleness)
        for entry, accepted, staleness in zip(run.rounds, (1, 3), (8.0, 0.0), strict=True)
    )
    assert read(replace(run, rounds=(few, many)))["staleness of accepted updates"] == 2.0


def test_what_did_not_come_about_has_no_figure() -> None:
    figures = read(made.empty())
    assert figures["loss of the last release on its judges"] is None
    assert figures["staleness of accepted updates"] is None
    assert not any(name.startswith("time until") for name in figures)


def test_groups_have_figures_where_all_runs_have_the_same_ones() -> None:
    run = made.results()
    other = replace(run, groups=run.groups[:1])
    names = [figure.name for figure in of_devices((run, run))]
    assert "loss of the last release in roof" in names
    assert not any(" in roof" in figure.name for figure in of_devices((run, other)))


def test_figures_of_devices_are_their_own() -> None:
    run = made.results()
    device = run.listed[0]
    figures = {figure.name: figure.read(device) for figure in of_devices((run,))}
    assert figures["loss of the last release"] == device.last
    assert figures["gain over learning alone"] == (device.alone or 0) - (device.last or 0)
    assert figures["share of time online"] == device.online
