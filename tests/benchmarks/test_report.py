"""A report is one JSON object that a program can compare and a table that a person can read."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from benchmarks.report import Figure, report, spread


def test_a_figure_without_a_peer_is_a_plain_number() -> None:
    made = json.loads(report("accuracy", ["numpy"], {"mae": 2.5}).encode())

    assert made["benchmark"] == "accuracy"
    assert made["figures"] == {"mae": 2.5}
    assert set(made["versions"]) == {"python", "numpy"}
    assert made["machine"]


def test_peers_stand_beside_ours_by_their_names() -> None:
    figure = Figure(ours=14.2, peers={"naive_script": 251.0}, ratio=17.7, unit="us", better="lower")
    made = json.loads(report("agent", [], {"cpu_per_event": figure}).encode())

    assert made["figures"]["cpu_per_event"] == {
        "ours": 14.2,
        "naive_script": 251.0,
        "ratio": 17.7,
        "unit": "us",
        "better": "lower",
    }


def test_a_spread_is_the_mean_and_the_standard_deviation_over_seeds() -> None:
    assert spread("mae", [1.0, 3.0]) == {"mae": 2.0, "mae_sd": pytest.approx(2**0.5)}
    assert spread("mae", [1.0]) == {"mae": 1.0}


def test_the_table_shows_every_figure_with_its_peers() -> None:
    figure = Figure(ours=2.0, peers={"other": 4.0}, ratio=2.0, unit="ms", better="lower")
    screen = io.StringIO()

    report("agent", [], {"latency": figure, "rows": 68_475.0}).show(Console(file=screen, width=100))

    shown = screen.getvalue()
    assert all(text in shown for text in ("agent", "latency", "other 4", "ms", "68,475"))


def test_a_peer_that_could_not_run_is_named_with_the_reason() -> None:
    found = report("agent", [], {"rss_mb": 90.0}, {"echo_c": "there is no C [compiler]"})
    screen = io.StringIO()

    found.show(Console(file=screen, width=100))

    assert "echo_c did not run: there is no C [compiler]" in screen.getvalue()
    assert json.loads(found.encode())["missing"] == {"echo_c": "there is no C [compiler]"}
    assert "missing" not in json.loads(report("agent", [], {}).encode())
