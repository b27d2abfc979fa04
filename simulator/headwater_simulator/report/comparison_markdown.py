"""A comparison in sentences and as one page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headwater_simulator.report.comparison import Comparison, Finding, Side
from headwater_simulator.report.markdown import escaped, laid_out
from headwater_simulator.report.tables import Table
from headwater_simulator.report.words import MISSING, duration, figure, number, share, size

_VERDICTS = {
    "differs": "differs",
    "noise": "noise",
    "same": "the same",
    "unknown": "cannot be told",
}


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Say what differs, what is noise, what cannot be told, and what all that is about."""
    by = {
        verdict: [finding for finding in comparison.findings if finding.verdict == verdict]
        for verdict in _VERDICTS
    }
    return tuple(
        filter(
            None,
            (
                _settings(comparison),
                *(_differing(finding) for finding in by["differs"]),
                "" if by["differs"] else "No difference between the two is more than noise.",
                _named("Noise", by["noise"]),
                _named("The same", by["same"]),
                _named(f"Cannot be told from {_few(comparison)}", by["unknown"]),
                _caution(comparison),
            ),
        )
    )


def markdown(comparison: Comparison) -> str:
    """Return the page; equal comparisons give equal pages."""
    tables = (settings(comparison), findings(comparison))
    parts = [
        f"# {escaped(comparison.a.name)} (A) against {escaped(comparison.b.name)} (B)",
        "- " + "\n- ".join((_side("A", comparison.a), _side("B", comparison.b))),
        "## Outcome",
        *(escaped(sentence) for sentence in sentences(comparison)),
        *(part for table in tables if table.rows for part in laid_out(table, len(table.rows))),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def settings(comparison: Comparison) -> Table:
    """Return the settings that differ."""
    return Table(
        "Settings that differ",
        ("setting", "A", "B"),
        tuple((s.key, _json(s.a), _json(s.b)) for s in comparison.settings),
        words=3,
    )


def findings(comparison: Comparison) -> Table:
    """Return each figure on both sides, with what is to be thought of the difference."""
    return Table(
        "Figures",
        ("figure", "A", "B", "B - A", "95 % interval", "p", "sample", "verdict"),
        tuple(
            (
                f.figure, _value(f.a, f.unit), _value(f.b, f.unit), _signed(f.difference, f.unit),
                _interval(f), MISSING if f.corrected is None else f"{f.corrected:.2g}",
                _sample(f), _verdict(f),
            )
            for f in comparison.findings
        ),
        ends_in_words=True,
        note=f"p is corrected for all figures that were looked at (Holm). "
        f"The sample: {comparison.over}, in pairs where it says so.",
    )  # fmt: skip


def _settings(comparison: Comparison) -> str:
    keys = [setting.key for setting in comparison.settings]
    if not keys:
        return "All settings are the same."
    shown = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
    return f"{number(len(keys), 'setting')} {'differs' if len(keys) == 1 else 'differ'}: {shown}."


def _differing(finding: Finding) -> str:
    way = "higher" if (finding.difference or 0) > 0 else "lower"
    return (
        f"{_capital(finding.figure)}: {_value(finding.b, finding.unit)} in B against "
        f"{_value(finding.a, finding.unit)} in A, {way} by "
        f"{_value(abs(finding.difference or 0), finding.unit)} ({_within(finding)}"
        f"{_sample(finding)}){_good(finding, way)}."
    )


def _within(finding: Finding) -> str:
    if finding.low is None:
        return ""
    return f"95 % interval of the difference {_interval(finding)}, "


def _good(finding: Finding, way: str) -> str:
    if not finding.better:
        return ""
    return ", which is better" if way == finding.better else ", which is worse"


def _named(what: str, found: Sequence[Finding]) -> str:
    return f"{what}: {', '.join(finding.figure for finding in found)}." if found else ""


def _few(comparison: Comparison) -> str:
    return "one run of each" if comparison.over == "devices" else "so few runs"


def _caution(comparison: Comparison) -> str:
    if comparison.over == "seeds":
        return (
            f"Runs are the sample, with {len(comparison.a.seeds)} and {len(comparison.b.seeds)} "
            "seeds, so this is about the settings."
        )
    return (
        "Devices are the sample, so this is about these two runs: all devices of a run share one "
        "history, and what the settings do on average only several seeds of each side can tell."
    )


def _side(letter: str, side: Side) -> str:
    seeds = ", ".join(map(str, side.seeds))
    what = "seed" if len(side.seeds) == 1 else "seeds"
    devices = number(side.devices, "device")
    return f"{letter}: {escaped(side.name)}, {devices}, {what} {seeds}"


def _sample(finding: Finding) -> str:
    what = {"devices": "device", "seeds": "seed"}[finding.over]
    if finding.p is None:
        return MISSING
    paired = " in pairs" if finding.paired else " or more of each"
    return f"{number(finding.sample, what)}{paired}"


def _verdict(finding: Finding) -> str:
    if finding.verdict != "differs" or not finding.better:
        return _VERDICTS[finding.verdict]
    way = "higher" if (finding.difference or 0) > 0 else "lower"
    return "B is better" if way == finding.better else "B is worse"


def _interval(finding: Finding) -> str:
    if finding.low is None:
        return MISSING
    return f"{_signed(finding.low, finding.unit)} to {_signed(finding.high, finding.unit)}"


def _signed(value: float | None, unit: str) -> str:
    if value is None:
        return MISSING
    sign = "-" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{_value(abs(value), unit)}"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return MISSING
    written = {"B": size, "ms": duration, "share": share}.get(unit)
    return written(value) if written else figure(value, unit)


def _json(value: Any) -> str:
    return MISSING if value is None else json.dumps(value, ensure_ascii=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
