"""Ways to read a drawing."""

from __future__ import annotations

from headwater_simulator.report.plots import Plot


def named(drawn: tuple[Plot, ...]) -> dict[str, Plot]:
    return {plot.title: plot for plot in drawn}


def described(plot: Plot) -> str:
    return plot.svg.findtext("desc") or ""


def count(plot: Plot, tag: str, kind: str) -> int:
    return sum(kind in (mark.get("class") or "").split() for mark in plot.svg.iter(tag))


def moments(plot: Plot) -> list[str]:
    return [group.findtext("title") or "" for group in plot.svg.iter("g")]
