"""The Markdown of a report renders as tables of text, whatever the texts are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from headwater_simulator.report.markdown import MOST_ROWS, escaped, markdown
from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.words import figure, visible
from tests.simulator.report import made


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def test_it_begins_with_what_was_simulated_and_what_came_of_it() -> None:
    run = made.results()
    page = markdown(run)
    lines = page.splitlines()
    assert lines[0] == "# Simulation drift"
    assert "- 60 devices for 6 d of virtual time" in lines
    assert all(sentence in page for sentence in outcome(run))


def test_every_table_has_its_rows_and_long_ones_are_shortened() -> None:
    run = made.results(rounds=100)
    page = rendered(markdown(run))
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == [
        "Outcome", "Groups", "Quality of the releases", "Rounds", "Releases", "Refused candidates",
        "Attacks", "Refused updates", "Incidents", "Totals",
    ]  # fmt: skip
    rounds = page[page.index("<h2>Rounds") : page.index("<h2>Releases")]
    assert rounds.count("<tr>") == MOST_ROWS + 2
    assert f"{figure(run.curve[-1].loss)}</td>" in page


def test_a_section_without_rows_is_left_out() -> None:
    assert re.findall("^## (.*)$", markdown(made.empty()), re.MULTILINE) == ["Outcome", "Totals"]


def test_equal_results_give_equal_pages() -> None:
    assert markdown(made.results()) == markdown(made.results())


def test_hostile_texts_stay_texts() -> None:
    page = rendered(markdown(made.hostile()))
    assert "<script" not in page
    assert {"<em>", "<code>", "<a "}.isdisjoint(re.findall("<em>|<code>|<a ", page))
    cells = [row.count("<td") for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)]
    assert set(cells) <= {0, 2, 3, 4, 5, 10, 12}
    assert "&lt;script&gt;alert" in page


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_one_cell_that_reads_as_the_name(name: str) -> None:
    run = replace(made.empty(), attacks=(replace(made.results().attacks[0], kind=f"a{name}z"),))
    page = rendered(markdown(run))
    cells = re.findall("<td.*?>(.*?)</td>", page[page.index("<h2>Attacks") :])
    wanted = " ".join(visible(f"a{name}z").split())
    html = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    assert cells[0] == "".join(html.get(character, character) for character in wanted)


def test_a_name_with_an_underscore_inside_is_left_as_it_is() -> None:
    assert escaped("device_1 _x_") == r"device_1 \_x\_"
