"""A report as one page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

from headwater_simulator.report import serving, tables
from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.results import Results
from headwater_simulator.report.tables import Table
from headwater_simulator.report.words import duration, number, visible

MOST_ROWS = 20
"""Rows of a table; of longer ones the middle is left out."""

_SPECIAL = re.compile(r"[\\`*\[\]<>|&~#$]|(?<!\w)_|_(?!\w)")
_SECTIONS: tuple[Callable[[Results], Table], ...] = (
    tables.groups,
    tables.curve,
    serving.table,
    tables.rounds,
    tables.releases,
    tables.refused_candidates,
    tables.attacks,
    tables.refusals,
    tables.incidents,
    tables.totals,
)


def markdown(results: Results) -> str:
    """Return the page; equal results give equal pages."""
    made = (section(results) for section in _SECTIONS)
    parts = [
        f"# Simulation {escaped(results.name)}",
        escaped(results.about),
        "- " + "\n- ".join(escaped(fact) for fact in facts(results)),
        "## Outcome",
        *(escaped(sentence) for sentence in outcome(results)),
        *(part for table in made if table.rows for part in laid_out(table)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def facts(results: Results) -> tuple[str, ...]:
    """Say in a few lines what was simulated."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"{number(results.devices, 'device')} for {duration(results.length_ms)} of virtual time",
        f"{results.engine} engine, seed {results.seed}",
        *((f"with {versions}",) if versions else ()),
    )


def laid_out(table: Table, most: int = MOST_ROWS) -> tuple[str, ...]:
    """Return a table below its heading, of at most so many rows."""
    short = table.shortened(most)
    rules = (":--" if short.is_words(column) else "--:" for column in range(len(short.headings)))
    lines = (short.headings, tuple(rules), *(tuple(map(escaped, row)) for row in short.rows))
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (f"## {short.title}", drawn, escaped(short.note))


def escaped(text: str) -> str:
    """Return a text on one line, none of whose characters Markdown or HTML takes for its own."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(visible(text).split()))
