"""A comparison says in words what differs, for better or worse, and what it is about."""

from __future__ import annotations

from markdown_it import MarkdownIt
from msgspec.structs import replace

from headwater_simulator.report.comparison import Comparison, compare
from headwater_simulator.report.comparison_markdown import findings, markdown, sentences
from tests.simulator.report import made


def shifted() -> Comparison:
    return compare(made.results(), made.results(seed=2, shift=6.0))


def test_what_differs_is_said_with_its_interval_and_whether_it_is_better() -> None:
    comparison = shifted()
    finding = comparison.findings[0]
    said = next(s for s in sentences(comparison) if s.startswith("Loss of the last release:"))
    assert f"{finding.a:.4g} ug/m3 in A, higher by {finding.difference:.4g} ug/m3" in said
    assert f"+{finding.low:.4g} ug/m3 to +{finding.high:.4g} ug/m3, 54 devices in pairs" in said
    assert said.endswith("which is worse.")


def test_what_is_noise_and_what_cannot_be_told_is_named() -> None:
    said = sentences(shifted())
    assert said[0] == "1 setting differs: seed."
    noise = next(s for s in said if s.startswith("Noise: "))
    assert "bytes up of a device" in noise
    once = next(s for s in said if s.startswith("Cannot be told from one run of each: "))
    assert "loss of the last release on its judges" in once
    assert "only several seeds of each side can tell" in said[-1]


def test_over_seeds_it_is_about_the_settings() -> None:
    a = [made.results(seed=seed) for seed in (1, 2)]
    b = [made.results(seed=seed) for seed in (3, 4, 5)]
    assert sentences(compare(a, b))[-1] == (
        "Runs are the sample, with 2 and 3 seeds, so this is about the settings."
    )


def test_where_nothing_differs_that_is_said() -> None:
    said = sentences(compare(made.results(), made.results()))
    assert said[0] == "All settings are the same."
    assert said[1] == "No difference between the two is more than noise."


def test_every_figure_has_a_row_with_its_verdict() -> None:
    comparison = shifted()
    table = findings(comparison)
    assert [row[0] for row in table.rows] == [f.figure for f in comparison.findings]
    assert {len(row) for row in table.rows} == {len(table.headings)}
    verdicts = {row[0]: row[-1] for row in table.rows}
    assert verdicts["loss of the last release"] == "B is worse"
    assert verdicts["bytes up of a device"] == "noise"
    assert verdicts["rounds"] == "the same"
    assert verdicts["loss of the last release on its judges"] == "cannot be told"


def test_the_page_is_whole_and_the_same_each_time() -> None:
    page = markdown(shifted())
    assert page == markdown(shifted())
    html = MarkdownIt("commonmark").enable("table").render(page)
    assert html.count("<table>") == 2
    assert html.count("<tr>") == 2 + len(shifted().settings) + len(shifted().findings)


def test_hostile_names_stay_texts() -> None:
    hostile = made.hostile()
    other = replace(hostile, scenario="{}", seed=2)
    page = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(markdown(compare(hostile, other)))
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page
