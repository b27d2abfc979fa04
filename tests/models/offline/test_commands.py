"""The two commands as a person uses them; the card and the screen are tested here too."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater_models.bundle import Bundle
from headwater_models.graphs.stack import stack_inference
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
    assert code == 0, wrong
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_model_comes_out_that_predicts_the_same_table(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path / "river", "--target", "level", "--window", 2)
    bundle = Bundle.load(tmp_path / "river")
    assert bundle.stacked == stack_inference(bundle.infer, bundle.manifest)
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
        (("train", "tanks.csv", "-o", "m", "--ignore", "Nope"), 3, "no column 'Nope'"),
        (("train", "tanks.csv", "-o", "m", "--label", "time"), 3, "this column says when"),
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


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--period", "1x"), 3, '--period: expected a duration such as "30s"'),
        (("--max-gap", "0s"), 3, "--max-gap: it must be above zero"),
        (("--window", "-1"), 3, "--window: expected a whole number >= 1, not -1"),
        (("--window", "0"), 3, "--window: expected a whole number >= 1, not 0"),
        (("--quantile", "1.5"), 3, "--quantile: expected a number < 1.0, not 1.5"),
        (("--name", "a b/../c"), 3, "--name: expected letters, digits"),
        (("--channel", "a:b:c"), 3, "expected NAME, NAME:UNIT"),
        (("--spec", "none.toml"), 8, "none.toml cannot be read"),
        (("--sign-key", "none.key"), 8, "none.key cannot be read"),
        (("--delegate", "ab" * 32), 3, "--delegate needs --sign-key"),
        (("-o", "none/m"), 8, "there is no folder"),
        (("-o", "/proc/m"), 8, "/proc/m cannot be written"),
    ],
)
def test_wrong_options_are_noticed_before_the_data_are_read(
    places: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    found, _, wrong = run("train", "none.csv", "-o", "m", *arguments)
    assert found == code
    assert wrong.startswith("error: ")
    assert sentence in wrong


def test_a_file_with_a_wrong_specification_is_refused_by_its_keys(places: Path) -> None:
    (places / "x.toml").write_text('window = 0\ngrid = { period = "1x" }\n')
    code, _, wrong = run("train", "none.csv", "-o", "m", "--spec", "x.toml")
    assert code == 3
    assert [line.split(": ")[1:3] for line in wrong.splitlines()] == [
        ["x.toml", "window"],
        ["x.toml", "grid.period"],
    ]


def test_a_folder_whose_name_no_model_can_have_gives_one_like_it(
    data: Path, tmp_path: Path
) -> None:
    train(data, tmp_path / "my tank (2).v1", "--target", "level", "--window", 2)
    assert Bundle.load(tmp_path / "my tank (2).v1").manifest.name == "my-tank-2"


@pytest.mark.parametrize("personal", ["none", "head", "blend"])
@pytest.mark.parametrize("task", [("--target", "level"), ("--label", "state")])
def test_what_is_trained_keeps_every_law_of_a_bundle(
    data: Path, tmp_path: Path, personal: str, task: tuple[str, str]
) -> None:
    said = train(data, tmp_path / "m", *task, "--personal", personal, "--window", 2)
    assert said["training"]["best_epoch"] > 0
    code, told, wrong = run("model", "check", tmp_path / "m")
    assert code == 0, wrong
    assert ("a personal part adds nothing" in told) == (personal == "blend")


def jittery(data: Path) -> Path:
    """Rows of which every fifth comes a second early."""
    columns = waves(300)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    columns["time"] = [
        (start + timedelta(seconds=60 * i - (i % 5 == 1))).isoformat() for i in range(300)
    ]
    return write_csv(data, columns)


def test_rows_that_do_not_count_are_told_of(data: Path, tmp_path: Path) -> None:
    remark = "60 of 300 rows fall into a slot that another row fills, and do not count"
    jittery(data)
    code, said, _ = run("train", data, "-o", tmp_path / "m", "--target", "level", "--window", 2)
    assert code == 0
    assert said.count("Mind: 60 of 300 rows") == 1
    bundle = Bundle.load(tmp_path / "m")
    assert f"{remark}; try --period 2min, or --period 30s --hold 1" in bundle.card
    assert bundle.facts["data"]["rows_not_counted"] == 60
    code, told, _ = run("predict", tmp_path / "m", data, "-o", tmp_path / "p.csv")
    assert f"{remark}.\n" in told
    code, told, _ = run("predict", tmp_path / "m", data, "-o", tmp_path / "q.csv", "--json")
    assert json.loads(told)["rows_not_counted"] == 60
    fine = ("--period", "30s", "--hold", 1, "--window", 2, "--horizon", "1min")
    kept = train(data, tmp_path / "n", "--target", "level", *fine)
    assert kept["data"]["rows_not_counted"] == 0


def test_streams_that_nobody_named_are_asked_for(data: Path, tmp_path: Path) -> None:
    code, said, _ = run("train", data, "-o", tmp_path / "m", "--label", "state", *FAST)
    assert code == 0
    assert "300 of 600 rows fall into a slot" in said
    assert "say --stream" in said


def test_a_result_that_is_no_better_says_so_on_screen_and_card(data: Path, tmp_path: Path) -> None:
    noise = waves(300)
    rng = np.random.default_rng(0)
    noise["state"] = ["high" if x > 0.9 else "low" for x in rng.random(300)]
    write_csv(data, noise)
    code, said, _ = run("train", data, "-o", tmp_path / "m", "--label", "state", "--epochs", "2")
    assert code == 0
    remark = "It is not better than the baseline on data it never saw"
    assert f"Mind: {remark}" in said
    assert remark in Bundle.load(tmp_path / "m").card


def test_a_frozen_model_is_called_untrained(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path / "m", "--target", "level", "--freeze", "*", "--window", 2)
    assert said["training"]["epochs"] == 0
    remark = "All that could be trained is frozen, so it says what the target was last."
    assert remark in said["remarks"]
    assert remark in Bundle.load(tmp_path / "m").card


def test_the_course_of_the_training_is_told(data: Path, tmp_path: Path) -> None:
    stop = ("--window", "2", "--epochs", "150", "--patience", "1", "--learning-rate", "0.05")
    code, said, lines = run("train", data, "-o", tmp_path / "m", "--target", "level", *stop)
    assert code == 0
    assert "and stopped early, as the last ones gained nothing" in said
    assert "stopped early" in Bundle.load(tmp_path / "m").card
    assert lines.startswith("epoch 0 of at most 150: validation loss ")
    assert "epoch 1 of" not in lines
    code, _, lines = run("train", data, "-o", tmp_path / "n", "--label", "state", *FAST)
    assert len(lines.splitlines()) == 4
    assert ", the best so far" in lines


def test_json_holds_the_schema_that_was_found(data: Path, tmp_path: Path) -> None:
    said = train(data, tmp_path / "m", "--target", "level", "--channel", "level", "--window", 2)
    columns = {column["name"]: column for column in said["schema"]["columns"]}
    assert columns["level"]["role"] == "channel, target"
    assert columns["flow"]["detail"].endswith("not chosen")
    assert said["schema"]["fields"]["grid"] == {"period": "1min", "max_gap": "5min"}


def test_a_bad_cell_is_named_with_its_row_in_training_and_prediction(
    data: Path, tmp_path: Path
) -> None:
    train(data, tmp_path / "m", "--target", "level", "--window", 2)
    columns = waves(300)
    columns["flow"][41] = "warm"
    write_csv(data, columns)
    for arguments in (
        ("train", data, "-o", tmp_path / "n", "--target", "level"),
        ("train", data, "-o", tmp_path / "n", "--target", "level", "--channel", "flow"),
        ("predict", tmp_path / "m", data, "-o", tmp_path / "p.csv"),
    ):
        code, _, wrong = run(*arguments)
        assert code == 3
        assert "column flow, row 42: 'warm' is no number" in wrong


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
