"""The page needs nothing beside it, says what the results say, and lets no text become markup."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.page import MOST_ROWS, page
from headwater_simulator.report.results import Results
from headwater_simulator.report.words import figure, size, visible
from tests.simulator.report import made
from tests.simulator.report.test_markup import Parsed

VOID = {"meta"}
RUNS = [made.results(accuracy=True), made.empty(), made.hostile()]


class Nested(Parsed):
    """Holds that every element is closed, and collects cells and headings."""

    def __init__(self, text: str) -> None:
        self.open: list[str] = []
        self.cells: list[str] = []
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "dd"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if self.open and self.open[-1] in ("td", "dd"):
            self.cells[-1] += data


@pytest.mark.parametrize("run", RUNS)
def test_it_is_one_file_that_loads_nothing_and_runs_nothing(run: Results) -> None:
    parsed = Nested(page(run))
    assert parsed.open == []
    tags = {tag for tag, _ in parsed.tags}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "use", "image", "base"})
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    style = re.findall("<style>(.*?)</style>", page(run), re.DOTALL)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|http", style[0])
    policy = [a.get("content") for _, a in parsed.tags if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("run", RUNS)
def test_every_drawing_is_an_image_with_a_title_and_a_description(run: Results) -> None:
    parsed = Nested(page(run))
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in parsed.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)


def test_every_link_leads_to_a_section() -> None:
    parsed = Nested(page(made.results()))
    links = [a["href"] for tag, a in parsed.tags if tag == "a"]
    sections = [f"#{a['id']}" for tag, a in parsed.tags if tag == "section"]
    assert links == sections == [
        "#learning", "#gains", "#releases", "#attacks", "#rounds", "#presence", "#incidents",
        "#totals", "#scenario",
    ]  # fmt: skip


def test_its_numbers_are_those_of_the_results() -> None:
    run = made.results(accuracy=True)
    parsed = Nested(page(run))
    for point in run.curve:
        assert {figure(point.loss), figure(point.spread.p90)} <= set(parsed.cells)
    for device in run.listed:
        assert {device.name, figure(device.last), size(device.bytes_up)} <= set(parsed.cells)
    for entry in run.rounds:
        assert size(entry.bytes_up) in parsed.cells
    assert all(sentence in parsed.text for sentence in outcome(run))
    assert f"{len(run.listed)}" in parsed.cells


def test_equal_results_give_equal_bytes() -> None:
    assert page(made.results()) == page(made.results())
    assert page(made.results()) != page(made.results(seed=2))


def test_hostile_texts_are_shown_as_texts() -> None:
    parsed = Nested(page(made.hostile()))
    assert visible(made.HOSTILE) in parsed.cells
    assert {tag for tag, _ in parsed.tags} == {tag for tag, _ in Nested(page(RUNS[0])).tags}


def test_a_run_in_which_nothing_came_about_has_a_page() -> None:
    text = page(made.empty())
    assert "<svg" not in text
    assert "No release was measured" in text


def test_it_suits_light_and_dark_and_small_screens() -> None:
    text = page(made.results())
    assert "prefers-color-scheme: dark" in text
    assert 'content="width=device-width, initial-scale=1"' in text


def test_every_colour_of_a_mark_is_in_the_style_sheet() -> None:
    text = page(made.results(accuracy=True))
    style = text[text.index("<style>") : text.index("</style>")]
    used = {name for names in re.findall('class="([^"]*)"', text) for name in names.split()}
    assert {name for name in used if f".{name}" not in style} <= {"words", "label", "tick"}


def test_a_very_long_run_has_a_page_of_bounded_size() -> None:
    long = made.results(count=1_000, rounds=20_000, accuracy=True)
    text = page(replace(long, scenario="not JSON"))
    assert len(text) < 3_000_000
    rounds = text[text.index('aria-label="Rounds"') :]
    assert rounds[: rounds.index("</table>")].count("<tr>") == MOST_ROWS + 2
