"""Bytes stand beside those of float32, accuracy as points gained; the federations are real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.compression import Outcome, app, summary
from benchmarks.report import Figure


def test_figures_are_means_over_seeds_beside_float32() -> None:
    seeds = [
        {
            "float32": Outcome(accuracy, 1000),
            "float16": Outcome(accuracy, 480),
            "int8": Outcome(accuracy - 0.01, 200),
            "top_k": Outcome(accuracy + 0.02, 50),
        }
        for accuracy in (0.7, 0.8)
    ]
    figures = summary(seeds).figures
    assert figures["accuracy_float32"] == pytest.approx(0.75)
    assert figures["accuracy_points_int8"] == pytest.approx(-1)
    assert figures["accuracy_points_top_k"] == pytest.approx(2)
    found = figures["bytes_int8"]
    assert isinstance(found, Figure)
    assert (found.ours, found.peers, found.ratio) == (200, {"float32": 1000}, 5)


def test_a_short_run_sends_fewer_bytes_each_way(data_folder: Path) -> None:
    arguments = ["--seeds", "1", "--rounds", "2", "--data", str(data_folder), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])["figures"]
    sizes = [figures[f"bytes_{name}"]["ours"] for name in ("float16", "int8", "top_k")]
    assert figures["bytes_int8"]["float32"] > sizes[0] > sizes[1] > sizes[2] > 0
