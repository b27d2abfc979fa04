"""Evaluations are answers times models; what was lost stands beside."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.agent import models
from benchmarks.agent.__main__ import app
from benchmarks.agent.stage import Spent
from benchmarks.report import Figure


def test_every_answer_is_an_evaluation_of_each_model() -> None:
    steady = [Spent(90, 10, 0.5, 2.0), Spent(100, 0, 0.5, 1.0), Spent(100, 0, 0.5, 1.0)]
    most = {"ours_with_models": [Spent(100, 0, 1, 1)], "naive_models": [Spent(10, 0, 1, 2)]}
    found = models.figures(steady, most, 300)
    assert found["evaluations_per_second"] == pytest.approx(30_000)
    assert found["evaluations_per_second_lost"] == pytest.approx(10 / 300)
    assert found["evaluations_per_second_cores"] == pytest.approx(0.5)
    figure = found["evaluations_per_second_at_most"]
    assert isinstance(figure, Figure)
    assert (figure.ours, figure.peers) == (30_000, {"naive_models": 1_500})
    assert figure.ratio == pytest.approx(20)


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_a_quick_run_answers_every_record_with_all_models() -> None:
    result = CliRunner().invoke(app, ["models", "--quick", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])["figures"]
    assert figures["evaluations_per_second"] > 0
    assert figures["evaluations_per_second_lost"] == 0
    assert figures["evaluations_per_second_at_most"]["naive_models"] > 0
