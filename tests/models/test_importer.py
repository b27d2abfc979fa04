"""``headwater model import``: a file becomes a bundle, or a sentence says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import BundleError, SettingsError, StorageError, UnsupportedError
from headwater_models.bundle import Bundle
from headwater_models.cli import app
from headwater_models.graphs.stack import stack_inference
from headwater_models.keys import SigningKey

EXPORTS = Path(__file__).parent / "graphs" / "importing" / "exports"
FACTS = [
    *("--task", "regression", "--period", "1min", "--window", "6"),
    *(f"--channel={name}::-4:8" for name in "abc"),
]


def run(file: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(
        app, ["import", str(EXPORTS / file), *(str(argument) for argument in arguments)]
    )


def test_a_file_becomes_a_signed_bundle_that_passes_every_check(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "k")
    done = run("lstm.script.onnx", *FACTS, "--sign-key", tmp_path / "k", "-o", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert "onnx.LSTM_199  onnx::LSTM_199" in done.stdout
    bundle = Bundle.load(tmp_path / "b", publisher=key.public)
    assert bundle.stacked == stack_inference(bundle.infer, bundle.manifest)
    assert bundle.facts["imported"]["file"] == "lstm.script.onnx"
    assert CliRunner().invoke(app, ["check", str(tmp_path / "b")]).exit_code == 0


def test_options_choose_what_learns_and_what_stays(tmp_path: Path) -> None:
    done = run(
        *("perceptron.dynamo.onnx", "--spec", tmp_path / "m.toml", "--json", "-o", tmp_path / "b"),
        *("--train", "2.*", "--local", "2.bias", "--fill", "b=1", "--scaled", "input"),
        *("--optimiser", "sgd", "--learning-rate", "0.1", "--batch", "8"),
    )
    assert isinstance(done.exception, StorageError)
    (tmp_path / "m.toml").write_text(
        'task = "forecast"\ntarget = "a"\nhorizon = "1h"\nwindow = 1\nresidual = true\n'
        'grid = { period = "1h" }\nchannels = ["a::0:1", "b::0:1", "c::0:1"]\n'
    )
    done = run(
        *("perceptron.dynamo.onnx", "--spec", tmp_path / "m.toml", "--json", "-o", tmp_path / "b"),
        *("--train", "2.*", "--local", "2.bias", "--fill", "b=1", "--scaled", "input"),
        *("--optimiser", "sgd", "--learning-rate", "0.1", "--batch", "8"),
    )
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "b")
    assert json.loads(done.stdout)["version"] == bundle.version_id
    assert [(a.name, a.merge) for a in bundle.manifest.arrays] == [
        ("2.weight", "mean"),
        ("2.bias", "local"),
    ]
    assert bundle.manifest.optimiser.name == "sgd"


def test_scales_come_from_data(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,c,y\n1,2,3,0\n3,5,4,1\n2,1,9,4\n")
    done = run(
        *("ridge.sklearn.onnx", "--data", tmp_path / "d.csv", "--label", "y", "-o", tmp_path / "b"),
        *("--task", "regression", "--period", "1min", "--window", "1"),
    )
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "b")
    assert [channel.name for channel in bundle.manifest.channels] == ["a", "b", "c"]
    assert bundle.facts["data"]["rows"] == 3


def test_a_word_that_is_none_of_a_few_is_told_with_them(tmp_path: Path) -> None:
    wrong = run("gru.dynamo.onnx", *FACTS, "--scaled", "nothing", "-o", tmp_path / "b")
    assert wrong.exit_code == 2
    assert "'nothing' is not one of 'input', 'output'" in wrong.output


@pytest.mark.parametrize(
    ("file", "more", "error", "sentence"),
    [
        ("forest.sklearn.onnx", [], UnsupportedError, "TreeEnsembleRegressor"),
        ("gru.dynamo.onnx", ["--window", "7"], UnsupportedError, "the window has 7 rows of 3"),
        ("none.onnx", [], StorageError, "none.onnx cannot be read"),
        ("gru.dynamo.onnx", ["--fill", "median"], SettingsError, "fill: 'median'"),
        ("gru.dynamo.onnx", ["--period", "x"], SettingsError, "period: expected a duration"),
        ("gru.dynamo.onnx", ["--fill", "model"], BundleError, "is not finite"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    tmp_path: Path, file: str, more: list[str], error: type[Exception], sentence: str
) -> None:
    refused = run(file, *FACTS, *more, "-o", tmp_path / "b")
    assert isinstance(refused.exception, error)
    assert sentence in str(refused.exception)
    assert not (tmp_path / "b").exists()
