"""``headwater model``: what people type, what they see, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner
from typer.utils import get_params_from_function

from headwater.errors import BundleError, SettingsError, StorageError
from headwater_models.bundle import Bundle
from headwater_models.cli import app
from headwater_models.graphs.builders.specification import Kind
from headwater_models.keys import SigningKey
from tests.models.bundles import signed, tiny

FORECAST = [
    *("new", "linear", "--task", "forecast", "--target", "level"),
    *("--channel", "level:m:0:10", "--channel", "rain:mm:0:50"),
    *("--period", "1min", "--window", "3", "--horizon", "2min"),
]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: str | Path) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    SigningKey.create(tmp_path / "publisher.key")
    return tmp_path / "publisher.key"


def test_new_makes_a_bundle_that_passes_every_check(tmp_path: Path) -> None:
    made = answer(*FORECAST, "--out", tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    assert made == {
        "path": str(tmp_path / "b"),
        "model": bundle.model_id,
        "version": bundle.version_id,
    }
    laws = answer("check", tmp_path / "b")["laws"]
    assert "models in one call predict what each does alone" in laws


def test_new_makes_the_same_names_again_from_the_same_options_and_seed(tmp_path: Path) -> None:
    mlp = [*FORECAST[:1], "mlp", *FORECAST[2:], "--hidden", "4"]
    first, again, other = (
        answer(*mlp, "--seed", seed, "--out", tmp_path / f"{at}.zip")
        for at, seed in enumerate("112")
    )
    assert (first["model"], first["version"]) == (again["model"], again["version"])
    assert first["version"] != other["version"]


def test_new_takes_channels_and_scales_from_data_and_signs(tmp_path: Path, key: Path) -> None:
    (tmp_path / "river.csv").write_text("level,rain\n1,2\n3,4\n,5\n")
    made = run(
        *("new", "mlp", "--task", "forecast", "--target", "level", "--hidden", "4"),
        *("--data", tmp_path / "river.csv", "--period", "1h", "--window", "2", "--horizon", "1h"),
        *("--sign-key", key, "--delegate", f"{key}.pub", "--out", tmp_path / "b"),
    )
    assert made.exit_code == 0, made.output
    bundle = Bundle.load(tmp_path / "b", publisher=SigningKey.load(key).public)
    assert [channel.name for channel in bundle.manifest.channels] == ["level", "rain"]
    assert bundle.facts["data"]["rows"] == 3
    assert "forecast of level 1h ahead" in made.stdout


def test_new_reads_the_whole_specification_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "river.toml").write_text(
        'kind = "linear"\nname = "river"\ntask = "classification"\nclasses = ["dry", "wet"]\n'
        'channels = ["level:m:0:10"]\ngrid = { period = "1min", max_gap = "2min" }\nwindow = 2\n'
    )
    out = tmp_path / "b"
    answer("new", "--spec", tmp_path / "river.toml", "--out", out, "--name", "brook")
    assert Bundle.load(out).manifest.name == "brook"
    assert answer("check", out)["ok"] is True
    assert "classification: dry, wet" in run("inspect", out).stdout


@pytest.mark.parametrize("kind", [k for k in get_args(Kind) if k != "autoencoder"])
def test_new_builds_every_kind_with_every_option_of_a_network(tmp_path: Path, kind: str) -> None:
    answer(
        *("new", kind, *FORECAST[2:], "--clock", "--out"),
        tmp_path / "b",
        *("--category", "mode=off,on,auto", "--log", "rain", "--hidden", "4", "--hidden", "3"),
        *("--activation", "silu", "--normalise", "layer", "--kernel", "2", "--embedding", "2"),
        *("--optimiser", "adamw", "--learning-rate", "0.01", "--batch", "16"),
        *("--personal", "blend", "--freeze", "head.bias"),
    )
    manifest = Bundle.load(tmp_path / "b").manifest
    assert manifest.channels[-1].categories == ("off", "on", "auto")
    assert manifest.optimiser.batch == 16
    assert answer("check", tmp_path / "b")["ok"] is True
    shown = run("inspect", tmp_path / "b").stdout
    for word in ("off", "auto", "mean, frozen", "local", "stay on the device", "adamw"):
        assert word in shown


def test_new_builds_a_model_of_quantiles(tmp_path: Path) -> None:
    quantiles = ("--quantile", "0.1", "--quantile", "0.5", "--quantile", "0.9")
    answer(*FORECAST, *quantiles, "--out", tmp_path / "b")
    assert answer("check", tmp_path / "b")["ok"] is True
    assert "2min ahead, quantiles 0.1, 0.5, 0.9" in run("inspect", tmp_path / "b").stdout


@pytest.mark.parametrize(
    ("learner", "task", "shown"),
    [
        ("ridge", ("--task", "regression"), "ridge regression, penalty 2, from 80 examples on"),
        (
            "naive_bayes",
            ("--task", "classification", "--class", "dry", "--class", "wet"),
            "naive Bayes, from 80 examples on",
        ),
    ],
)
def test_new_builds_a_model_that_learns_from_statistics(
    tmp_path: Path, learner: str, task: tuple[str, ...], shown: str
) -> None:
    answer(
        *("new", "mlp", "--channel", "level:m:0:10", "--period", "1min", "--window", "2", *task),
        *("--learner", learner, "--ridge", "2", "--min-count", "80", "--out"),
        tmp_path / "b",
    )
    assert answer("check", tmp_path / "b")["ok"] is True
    said = run("inspect", tmp_path / "b").stdout
    for word in (shown, "solved", "mean, frozen", "statistics."):
        assert word in said


def test_new_builds_a_detector_of_anomalies(tmp_path: Path) -> None:
    answer(
        *("new", "autoencoder", "--channel", "level:m:0:10", "--period", "1min"),
        *("--window", "4", "--hidden", "3", "--hidden", "2", "--out"),
        tmp_path / "b",
    )
    assert Bundle.load(tmp_path / "b").manifest.task == "anomaly"
    assert answer("check", tmp_path / "b")["ok"] is True


def test_new_does_not_overwrite(tmp_path: Path) -> None:
    answer(*FORECAST, "--out", tmp_path / "b")
    assert isinstance(run(*FORECAST, "--out", tmp_path / "b").exception, StorageError)


def test_new_names_what_is_missing(tmp_path: Path) -> None:
    refused = run("new", "linear", "--out", tmp_path / "b")
    assert isinstance(refused.exception, SettingsError)
    assert "this key is required" in str(refused.exception)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (("--max-gap", "5min", "--window", "-3"), SettingsError, "--window: expected a whole"),
        (("--quantile", "1.5"), SettingsError, "--quantile: expected a number < 1.0, not 1.5"),
        (("--name", "a b/../c"), SettingsError, "--name: expected letters, digits"),
        (("--delegate", "ab" * 32), SettingsError, "--delegate needs --sign-key"),
        (("--sign-key", "none.key"), StorageError, "none.key cannot be read"),
        (("--out", "none/b"), StorageError, "there is no folder"),
    ],
)
def test_new_notices_wrong_options_before_it_reads_data(
    tmp_path: Path, arguments: tuple[str, ...], kind: type[Exception], sentence: str
) -> None:
    out = () if "--out" in arguments else ("--out", tmp_path / "b")
    refused = run(*FORECAST, *out, "--data", tmp_path / "none.csv", *arguments)
    assert isinstance(refused.exception, kind), refused.output
    assert sentence in str(refused.exception)


def test_head_needs_a_key_to_name_delegates(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    refused = run("head", tmp_path / "b", "--out", tmp_path / "h", "--delegate", "ab" * 32)
    assert "--delegate needs --sign-key" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "forecast", "--logits"), "--logits is for a classification"),
        (("--task", "forecast", "--delegate", "ab" * 32), "--delegate needs --sign-key"),
        (("--window", "0"), "--window: expected a whole number >= 1, not 0"),
    ],
)
def test_import_notices_wrong_options_before_it_reads_a_file(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    refused = run("import", "none.onnx", "--out", tmp_path / "b", *arguments)
    assert sentence in str(refused.exception)


def test_inspect_shows_names_arrays_and_signatures(tmp_path: Path) -> None:
    signed().save(tmp_path / "b")
    shown = run("inspect", tmp_path / "b").stdout
    model, version = signed().verify()
    for word in (signed().model_id, signed().version_id, "head.weight", "12 x 1", "mean"):
        assert word in shown
    told = answer("inspect", tmp_path / "b")
    assert (told["model"], told["version"]) == (signed().model_id, signed().version_id)
    assert told["manifest"] == json.loads(signed().manifest_json)
    assert told["signatures"]["publisher"] == model.publisher
    assert told["signatures"]["sequence"] == version.sequence


def test_inspect_says_where_there_is_no_signature(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    assert answer("inspect", tmp_path / "b")["signatures"] is None
    assert "signed   no" in run("inspect", tmp_path / "b").stdout


def test_check_wants_the_signature_of_the_key_that_is_given(tmp_path: Path, key: Path) -> None:
    signed().save(tmp_path / "b")
    refused = run("check", tmp_path / "b", "--key", f"{key}.pub")
    assert isinstance(refused.exception, BundleError)
    assert run("check", tmp_path / "b", "--key", signed().verify()[0].publisher).exit_code == 0


def test_check_lists_the_laws_it_tried(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    lines = run("check", tmp_path / "b").stdout.splitlines()
    assert lines[0] == "ok  files are whole (there is no signature to prove)"
    assert len(lines) == 9
    assert all(line.startswith("ok  ") for line in lines)


def test_sign_lets_a_key_come_in_the_publishers_place(tmp_path: Path, key: Path) -> None:
    tiny().save(tmp_path / "b")
    answer("sign", tmp_path / "b", "--key", key)
    heir = SigningKey.create(tmp_path / "heir")
    answer("sign", tmp_path / "b", "--key", tmp_path / "heir", "--replaces", key)
    model, _ = Bundle.load(tmp_path / "b").verify(publisher=SigningKey.load(key).public)
    assert model.publisher == heir.public
    assert run("check", tmp_path / "b", "--key", f"{key}.pub").exit_code == 0
    refused = run("sign", tmp_path / "b", "--key", key, "--replaces", key)
    assert isinstance(refused.exception, BundleError)


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_sign_signs_in_place(tmp_path: Path, key: Path, name: str) -> None:
    tiny().save(tmp_path / name)
    told = answer("sign", tmp_path / name, "--key", key, "--delegate", "ab" * 32)
    assert told["version"] == tiny().version_id
    model, version = Bundle.load(tmp_path / name).verify(publisher=SigningKey.load(key).public)
    assert model.release_keys == ("ab" * 32,)
    assert (version.kind, version.sequence) == ("release", 1)


def test_key_new_tells_the_public_key_and_never_the_secret(tmp_path: Path) -> None:
    told = answer("key", "new", tmp_path / "k")
    assert told == {"file": str(tmp_path / "k"), "public": SigningKey.load(tmp_path / "k").public}
    shown = run("key", "new", tmp_path / "k2").stdout
    assert shown.splitlines()[-1] == SigningKey.load(tmp_path / "k2").public
    assert "PRIVATE" not in shown


def commands(command: click.Command, path: str = "model") -> list[tuple[str, click.Command]]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(path, command)] + [
        found for name, each in inner for found in commands(each, f"{path} {name}")
    ]


def test_every_command_argument_and_option_has_help() -> None:
    for path, command in commands(typer.main.get_command(app)):
        assert command.help, path
        assert command.callback is not None
        for name, declared in get_params_from_function(command.callback).items():
            assert declared.default.help, f"{path} {name}"
