"""The WISDM case, small: what is scored is not learned from, and what is said of it is a mean."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.phones import CHANNELS, User
from benchmarks.wisdm import Case, Outcome, divide, summary

OUTCOME = Outcome(
    rows=100,
    channels=8,
    releases=3,
    personal=0.9,
    released=0.8,
    pooled=0.85,
    local=0.88,
    unseen=0.7,
    plain_pooled=0.8,
    plain_local=0.82,
    plain_released=0.7,
)


def users(count: int = 3, rows: int = 40) -> list[User]:
    """Users whose rows bear their own numbers."""
    numbers = np.arange(rows, dtype=np.float32)[:, None] * np.ones(len(CHANNELS), np.float32)
    return [User(f"user-{i}", numbers, np.arange(rows) % 6) for i in range(count)]


def numbers(of: User) -> set[int]:
    return set(of.values[:, 0].astype(int).tolist())


def test_seven_of_ten_rows_of_each_user_are_learned_from_and_the_rest_are_scored() -> None:
    learn, score = divide(users(), Case(), np.random.default_rng(0))

    for one, other in zip(learn, score, strict=True):
        assert (len(one.labels), len(other.labels)) == (28, 12)
        assert numbers(one) | numbers(other) == set(range(40))


def test_validation_leaves_alone_the_rows_that_the_test_scores() -> None:
    _, test = divide(users(), Case(), np.random.default_rng(0))
    learn, score = divide(users(), Case(validate=True), np.random.default_rng(0))

    for kept, one, other in zip(test, learn, score, strict=True):
        assert (len(one.labels), len(other.labels)) == (21, 7)
        assert not numbers(kept) & (numbers(one) | numbers(other))


def test_the_summary_is_a_mean_over_seeds_with_its_spread() -> None:
    figures = summary([OUTCOME, replace(OUTCOME, personal=0.92)]).figures

    assert figures["accuracy_personal"] == pytest.approx(0.91)
    assert figures["accuracy_personal_sd"] == pytest.approx(0.0141, abs=1e-4)
    assert figures["accuracy_global"] == 0.8
    assert figures["accuracy_unseen"] == 0.7
    assert figures["accuracy_fedavg_43"] == 0.7
    assert figures["seeds"] == 2.0


@pytest.mark.system
def test_the_command_runs_end_to_end_on_a_few_users(data_folder: Path) -> None:
    arguments = ["wisdm", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout.splitlines()[-1])["figures"]
    assert figures["releases"] >= 1
    for name in ("personal", "global", "pooled", "local", "unseen"):
        assert 0 < figures[f"accuracy_{name}"] <= 1
