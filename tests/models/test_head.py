from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.errors import UnsupportedError
from headwater_models.bundle import Bundle
from headwater_models.cli import app
from headwater_models.graphs.stack import stack_inference
from headwater_models.keys import SigningKey
from tests.models.bundles import tiny


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny("mlp").save(tmp_path / "before")
    return tmp_path


def test_a_bundle_gets_a_solved_head_on_its_own_backbone(folder: Path) -> None:
    said = json.loads(run("head", folder / "before", "-o", folder / "after", "--json"))

    after = Bundle.load(folder / "after")
    assert said["model"] == after.model_id
    assert (after.manifest.learner, after.manifest.ridge) == ("ridge", 1.0)
    for name in ("hidden.1.weight", "hidden.1.bias"):
        assert after.weights[name].tobytes() == tiny("mlp").weights[name].tobytes()
    assert after.stacked == stack_inference(after.infer, after.manifest)
    assert after.facts["backbone"] == tiny("mlp").version_id
    assert json.loads(run("check", folder / "after", "--json"))["ok"]


def test_it_is_signed_and_told_how_strong_and_from_when_on(folder: Path) -> None:
    key = SigningKey.create(folder / "publisher.key")
    run(
        *("head", folder / "before", "-o", folder / "after", "--ridge", "2.5"),
        *("--min-count", "300", "--sign-key", folder / "publisher.key"),
    )

    after = Bundle.load(folder / "after", publisher=key.public)
    assert (after.manifest.ridge, after.manifest.min_count) == (2.5, 300)


def test_a_learner_that_does_not_fit_the_task_is_refused(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="naive_bayes is for classifications"):
        run("head", folder / "before", "-o", folder / "after", "--learner", "naive_bayes")
