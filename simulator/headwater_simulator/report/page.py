"""A report as one HTML file that needs nothing beside it: no network, no script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from headwater_simulator.report import curves, plots, serving, tables
from headwater_simulator.report.markdown import facts
from headwater_simulator.report.markup import Element, document, element
from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.plots import Plot
from headwater_simulator.report.results import Results
from headwater_simulator.report.tables import Table
from headwater_simulator.report.words import figure, share, size, whole

MOST_ROWS = 400
"""Rows of a table, but for the devices; of longer ones the middle is left out."""

OPEN_ROWS = 12
"""Tables of more rows are folded up."""

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_Plots = Callable[[Results], tuple[Plot, ...]]
_Tables = tuple[Callable[[Results], Table], ...]
_SECTIONS: tuple[tuple[str, str, _Plots | None, _Tables], ...] = (
    ("learning", "What the fleet learned", curves.learning, (tables.curve,)),
    ("served", "What the agents predicted", serving.plots, (serving.table,)),
    ("gains", "Who gained, who lost", plots.gains, (tables.groups, tables.devices)),
    ("releases", "Releases", plots.history, (tables.releases, tables.refused_candidates)),
    ("attacks", "Attacks and refusals", plots.attacks, (tables.attacks, tables.refusals)),
    ("rounds", "Rounds", plots.rounds, (tables.rounds,)),
    ("presence", "Presence", plots.presence, (tables.presence,)),
    ("incidents", "Incidents", None, (tables.incidents,)),
    ("totals", "Totals", None, (tables.totals,)),
)


def page(results: Results) -> str:
    """Return the page; equal results give equal bytes."""
    made = (_section(results, *section) for section in _SECTIONS)
    sections = [*(section for section in made if section is not None), _scenario(results)]
    links = (element("a", part[0].text, href=f"#{part.get('id')}") for part in sections)
    title = f"Simulation {results.name}"
    return document(
        element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("meta", name="color-scheme", content="light dark"),
                element("title", title),
                element("style", _STYLE.read_text(encoding="utf-8")),
            ),
            element(
                "body",
                element(
                    "header",
                    element("h1", title),
                    element("p", results.about) if results.about else None,
                    element("p", " · ".join(facts(results)), class_="facts"),
                    _tiles(results),
                    *(element("p", sentence, class_="outcome") for sentence in outcome(results)),
                    element("nav", *links, aria_label="Sections"),
                ),
                element("main", *sections),
            ),
            lang="en",
        )
    )


def _section(
    results: Results, name: str, title: str, drawn: _Plots | None, tabled: _Tables
) -> Element | None:
    made = drawn(results) if drawn else ()
    rows = [table for make in tabled if (table := make(results)).rows]
    if not made and not rows:
        return None
    return element(
        "section",
        element("h2", title),
        element("div", *(_plot(plot) for plot in made), class_="plots") if made else None,
        *(_table(table) for table in rows),
        id=name,
    )


def _tiles(results: Results) -> Element:
    totals, last = results.totals, results.curve[-1:]
    tiles = (
        *(("loss of the last release", figure(point.loss, results.unit)) for point in last),
        *(("accuracy", share(point.accuracy)) for point in last if point.accuracy is not None),
        ("devices", whole(results.devices)),
        ("rounds", whole(totals.rounds)),
        ("releases", whole(totals.releases)),
        ("sent up", size(totals.bytes_up)),
    )
    return element(
        "dl",
        *(element("div", element("dt", what), element("dd", words)) for what, words in tiles),
        class_="tiles",
    )


def _plot(plot: Plot) -> Element:
    keys = (element("li", element("i", class_=f"key {kind}"), words) for kind, words in plot.legend)
    return element(
        "figure",
        element("h3", plot.title),
        plot.svg,
        element(
            "figcaption",
            element("ul", *keys, class_="legend") if plot.legend else None,
            element("p", plot.note) if plot.note else None,
        ),
    )


def _table(table: Table) -> Element:
    short = table if table.title == "Devices" else table.shortened(MOST_ROWS)
    sides = ["words" if short.is_words(c) else "number" for c in range(len(short.headings))]
    grid = element(
        "div",
        element(
            "table",
            element("thead", _row("th", short.headings, sides, scope="col")),
            element("tbody", *(_row("td", row, sides) for row in short.rows)),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=short.title,
    )
    note = element("p", short.note, class_="note") if short.note else None
    title = f"{short.title} ({whole(len(table.rows))})"
    if len(table.rows) <= OPEN_ROWS:
        return element("div", element("h3", short.title), grid, note, class_="table")
    return element("details", element("summary", title), grid, note, class_="table")


def _row(tag: str, cells: Iterable[str], sides: Iterable[str], **attributes: str) -> Element:
    return element(
        "tr",
        *(
            element(tag, cell, class_=side, **attributes)
            for cell, side in zip(cells, sides, strict=True)
        ),
    )


def _scenario(results: Results) -> Element:
    return element(
        "section",
        element("h2", "Scenario"),
        element(
            "details",
            element("summary", "All settings, as they were resolved"),
            element("pre", _indented(results.scenario)),
        ),
        id="scenario",
    )


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
