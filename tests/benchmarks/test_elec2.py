"""The Elec2 case predicts before it learns, from inputs that were known by then."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.elec2 import (
    LAGS,
    QUICK,
    Run,
    Stream,
    above_mean_of_a_day,
    channels,
    cohen_kappa,
    forest,
    lagged,
    model,
    race,
    read_stream,
    repeated,
    run,
    summary,
    temporal_kappa,
)

HEAD = "date,day,period,nswprice,nswdemand,vicprice,vicdemand,transfer,class"


@pytest.fixture(scope="module")
def stream() -> Stream:
    rng = np.random.default_rng(0)
    inputs = rng.random((300, len(channels()))).astype(np.float32)
    return Stream(inputs=inputs, labels=(inputs[:, 3] > 0.5).astype(np.int64))


def test_rows_are_read_with_the_labels_known_by_then(tmp_path: Path) -> None:
    rows = [f"0,2,0.5,0.{at},0.1,0.2,0.3,0.4,{at % 2}" for at in range(1, 6)]
    (tmp_path / "elec2.csv.gz").write_bytes(gzip.compress("\n".join([HEAD, *rows]).encode()))

    found = read_stream(tmp_path)

    assert found.labels.tolist() == [1, 0, 1, 0, 1]
    assert found.inputs.shape == (5, 8 + len(LAGS))
    assert found.inputs[:, 3].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.inputs[1:, 8].tolist() == [1, 0, 1, 0]
    assert np.isnan(found.inputs[0, 8])
    assert np.isnan(found.inputs[:, 9]).all()


def test_a_lagged_label_is_not_known_before_its_time() -> None:
    assert lagged(np.array([1, 0, 1]), 1).tolist()[1:] == [1, 0]
    assert np.isnan(lagged(np.array([1, 0]), 5)).all()


def test_a_prediction_depends_on_no_label_from_its_own_on(stream: Stream) -> None:
    labels = stream.labels.copy()
    labels[200:] = 1 - labels[200:]
    spoiled = replace(stream, labels=labels)

    for side in (lambda s: model(s, 0), forest):
        before, after = (race(one, side(one))[0].predicted for one in (stream, spoiled))
        assert before[:201].tolist() == after[:201].tolist()
        assert before[201:].tolist() != after[201:].tolist()


def test_the_model_learns_along_the_stream(stream: Stream) -> None:
    right = run(stream, 0).predicted == stream.labels

    assert right[200:].mean() > right[:50].mean()
    assert right[200:].mean() > 0.9


def test_sides_that_take_turns_predict_what_they_would_alone(stream: Stream) -> None:
    together = race(stream, model(stream, 0), forest(stream))

    assert together[0].predicted.tolist() == run(stream, 0).predicted.tolist()
    assert together[1].predicted.tolist() == race(stream, forest(stream))[0].predicted.tolist()
    assert all(side.seconds > 0 for side in together)


def test_cohen_s_kappa_is_0_by_chance_and_1_when_all_is_right() -> None:
    labels = np.array([0, 0, 1, 1])

    assert cohen_kappa(labels, labels) == 1
    assert cohen_kappa(np.array([0, 1, 0, 1]), labels) == 0
    assert cohen_kappa(np.array([0, 0, 0, 1]), labels) == pytest.approx(0.5)
    assert cohen_kappa(np.array([0, 0, 0, 0]), labels) == 0


def test_temporal_kappa_is_0_for_who_repeats_labels_and_1_when_all_is_right() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    last = repeated(labels)

    assert last.tolist() == [False, True, False, True, True]
    assert temporal_kappa(last, last) == 0
    assert temporal_kappa(np.ones(5, np.bool_), last) == 1
    assert temporal_kappa(np.array([True, True, True, True, False]), last) == pytest.approx(0.5)


def test_the_rule_behind_the_labels_compares_with_the_rows_before(stream: Stream) -> None:
    inputs = np.zeros((4, stream.inputs.shape[1]), np.float32)
    inputs[:, 3] = [0.5, 0.6, 0.5, 0.55]

    assert above_mean_of_a_day(replace(stream, inputs=inputs)).tolist() == [1, 1, 0, 1]


def test_the_summary_says_how_many_times_faster_an_event_is() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    stream = Stream(inputs=np.zeros((5, len(channels())), np.float32), labels=labels)
    ours = Run(predicted=labels, seconds=0.5)
    theirs = Run(predicted=np.array([0, 1, 1, 0, 0]), seconds=6.0)

    figures = summary(stream, [ours, ours], [ours, theirs]).figures

    assert figures["accuracy"] == 1.0
    assert figures["accuracy_arf"] == 0.8
    assert figures["speed_vs_arf"] == 12.0
    assert figures["temporal_kappa"] == 1.0
    assert figures["seeds"] == 2.0


@pytest.mark.system
def test_the_command_runs_end_to_end_on_the_first_rows(data_folder: Path) -> None:
    arguments = ["elec2", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout.splitlines()[-1])["figures"]
    assert figures["events"] == QUICK
    assert 0.5 < figures["accuracy"] <= 1
    assert figures["time_per_event"]["river_arf"] > 0
