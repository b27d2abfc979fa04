"""The two commands as a person uses them; the card and the screen are tested here too."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater_models.bundle import Bundle
from headwater_models.keys import SigningKey
from tests.models.offline.tables import waves, write_csv

FAST = ("--epochs", "3", "--batch", "64", "--learning-rate", "0.02")


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "120"})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "tanks.csv", waves(300, streams=2))


@pytest.fixture
def places(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a good table and some that are not."""
    write_csv(tmp_path / "few.csv", waves(30))
    write_csv(tmp_path / "other.csv", {"time": [1], "x": [2]})
    (tmp_path / "empty.csv").write_text("time,level\n")
    monkeypatch.chdir(data.parent)
    return tmp_path


def train(data: Path, out: Path, *more: object) -> dict[str, Any]:
    code, said, wrong = run("train", data, "-o", out, "--stream", "tank", *FAST, "--json", *more)
    assert (code, wrong) == (0, "")
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_model_comes_out_that_predicts_the_same_table(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path / "river", "--target", "level", "--window", 2)
    bundle = Bundle.load(tmp_path / "river")
    assert (bundle.manifest.name, bundle.version_id) == ("river", said["version"])
    assert bundle.facts["data"]["columns"] == {"time": "time", "stream": "tank"}
    assert {"seed", "split", "training", "metrics"} <= said.keys()
    out = tmp_path / "said.csv"
    code, told, _ = run("predict", tmp_path / "river", data, "-o", out, "--json")
    summary = json.loads(told)
    assert code == 0
    assert (summary["streams"], summary["predictions"], summary["rows"]) == (2, 598, 600)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    errors = [abs(float(r["prediction"]) - float(r["label"])) for r in rows if r["label"]]
    assert summary["error"] == pytest.approx(np.mean(errors), rel=1e-6)


def test_a_person_is_shown_what_was_understood_and_how_good_it_is(
    data: Path, tmp_path: Path
) -> None:
    code, said, _ = run("train", data, "-o", tmp_path / "m", "--label", "state", *FAST)
    assert code == 0
    for words in (
        "channel",
        "left out",
        "classification by mlp: windows of 1 rows, one every 1min",
        "to learn from",
        "macro F1",
        "card.md says more",
    ):
        assert words in said
    out = tmp_path / "p.jsonl"
    code, said, _ = run("predict", tmp_path / "m", data, "--out", out)
    assert code == 0
    assert "predictions to" in said
    assert "share of wrong ones" in said


def test_the_card_lies_in_the_bundle_and_outside_of_its_names(data: Path, tmp_path: Path) -> None:
    write_csv(data, waves(200, streams=4))
    train(data, tmp_path / "m", "--label", "state", "--group", "tank")
    bundle = Bundle.load(tmp_path / "m")
    card = (tmp_path / "m" / "card.md").read_text()
    assert card == bundle.card
    for words in (
        "# m\n",
        "Tells which of high, low it is.",
        "| accuracy |",
        "| high |",
        "whole groups",
        "tanks.csv: 800 rows, 4 streams",
        "| level |",
        bundle.version_id,
    ):
        assert words in card
    (tmp_path / "m" / "card.md").write_text("# other\n")
    assert Bundle.load(tmp_path / "m").version_id == bundle.version_id


def test_a_forecasts_card_tells_horizon_cuts_and_baseline(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path / "m", "--target", "level", "--horizon", "2min")
    card = Bundle.load(tmp_path / "m").card
    assert "Forecasts level 2min ahead. It looks at the last 24 rows, one every 1min." in card
    assert "the last known value" in card
    assert said["split"]["cuts"][0] in card


def test_without_times_the_rows_follow_one_another(data: Path, tmp_path: Path) -> None:
    columns = {name: cells for name, cells in waves(300, streams=2).items() if name != "time"}
    write_csv(data, columns)
    said = train(data, tmp_path / "m", "--target", "level", "--window", 2, "--period", "1s")
    assert "cuts" not in said["split"]
    card = Bundle.load(tmp_path / "m").card
    assert "in the order of the rows" in card
    assert "1970" not in card


def test_it_can_be_signed_at_once(data: Path, tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "publisher.key")
    train(data, tmp_path / "m", "--target", "level", "--sign-key", tmp_path / "publisher.key")
    model, _ = Bundle.load(tmp_path / "m", publisher=key.public).verify()
    assert model.publisher == key.public
    stranger = SigningKey.create(tmp_path / "stranger.key").public
    code, _, wrong = run(
        "predict", tmp_path / "m", data, "-o", tmp_path / "p.csv", "--key", stranger
    )
    assert code == 4
    assert "publisher" in wrong


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("train", "none.csv", "-o", "m"), 8, "none.csv cannot be read"),
        (("train", "tanks.csv", "-o", "tanks.csv"), 8, "tanks.csv is there already"),
        (("train", "tanks.csv", "-o", "m", "--label", "weight"), 3, "no column 'weight'"),
        (("train", "tanks.csv", "-o", "m", "--target", "state"), 3, "must name one of"),
        (("train", "few.csv", "-o", "m", "--target", "level"), 3, "fewer than 20"),
        (("train", "tanks.csv", "few.csv", "other.csv", "-o", "m"), 3, "different columns"),
        (("train", "empty.csv", "-o", "m"), 3, "empty.csv has no rows"),
        (("predict", "none", "tanks.csv", "-o", "p.csv"), 8, "There is no bundle at none"),
        (("predict", "none", "tanks.csv", "-o", "p.txt"), 3, "must end in one of"),
        (("predict", "none", "tanks.csv", "-o", "tanks.csv"), 8, "is there already"),
    ],
)
def test_what_cannot_work_ends_with_a_sentence_and_leaves_nothing(
    places: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    before = sorted(path.name for path in places.iterdir())
    found, _, wrong = run(*arguments)
    assert found == code
    assert wrong.startswith("error: ")
    assert sentence in wrong
    assert sorted(path.name for path in places.iterdir()) == before


LIGHT = """
import sys
from headwater.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
assert not {"onnx", "pyarrow", "pandas", "flwr"} & {name.partition(".")[0] for name in sys.modules}
"""


def test_predicting_needs_no_onnx(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "m", "--target", "level")
    out = str(tmp_path / "p.csv")
    command = [sys.executable, "-c", LIGHT, "predict", str(tmp_path / "m"), str(data), "-o", out]
    subprocess.run(command, check=True, env=os.environ)
    assert Path(out).exists()
