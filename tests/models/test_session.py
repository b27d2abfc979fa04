from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.graphs.builders import build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.serialisation import encode
from headwater_models.session import (
    MAX_GRAPH_BYTES,
    Predictor,
    Trainer,
    initial_state,
)
from tests.models.graphs.example import model_spec, random_weights, rows

SPEC = model_spec(inputs=("window", "time"))
BUILT = build(SPEC, np.random.default_rng(0))
WEIGHTS: dict[str, NDArray[Any]] = {
    name: array.astype(np.float32)
    for name, array in random_weights(BUILT.weights, np.random.default_rng(1)).items()
}
LAST_LAYER_OF_ZEROS = {
    name: np.zeros_like(array) for name, array in WEIGHTS.items() if name.startswith("head.")
}
BATCH = rows(SPEC, np.random.default_rng(2), 8).cast("float32")


def test_bound_parameters_predict_what_passed_ones_do_for_any_number_of_rows() -> None:
    predictor = Predictor(BUILT.infer)
    bound = predictor.bind(WEIGHTS)
    for count in (8, 1, 8, 3, 0, 5):
        window, time = BATCH.window[:count], BATCH.time[:count]
        passed = predictor.run(window, time, WEIGHTS)
        np.testing.assert_array_equal(bound(window, time), passed)
        assert passed.shape == (count, 1)


def test_features_are_what_the_last_layer_sees() -> None:
    predictor = Predictor(BUILT.infer)
    features = predictor.features(BATCH.window, BATCH.time, WEIGHTS)
    assert features.shape == (8, 4)
    without = predictor.run(BATCH.window, BATCH.time, {**WEIGHTS, **LAST_LAYER_OF_ZEROS})
    head = features @ WEIGHTS["head.weight"] + WEIGHTS["head.bias"]
    assert SPEC.scaling is not None
    moved = predictor.run(BATCH.window, BATCH.time, WEIGHTS) - without
    np.testing.assert_allclose(moved, SPEC.scaling.scale[0] * head, rtol=1e-4, atol=1e-4)


def test_a_graph_without_features_says_so_when_they_are_asked_for() -> None:
    graph = Graph()
    graph.output(graph.op("Neg", graph.input("window", ("N", 3, 2)), name="prediction"))
    with pytest.raises(BundleError, match="no output `features`"):
        Predictor(encode(graph)).features(BATCH.window, BATCH.time, {})


def test_a_blend_gives_the_released_prediction_too_and_others_say_that_they_do_not() -> None:
    blend = build(model_spec(personal="blend"), np.random.default_rng(0))
    predictor, plain = Predictor(blend.infer), Predictor(BUILT.infer)
    assert (predictor.blends, plain.blends) == (True, False)
    assert predictor.released(BATCH.window, BATCH.time, blend.weights).shape == (8, 1)
    with pytest.raises(BundleError, match="no output `released`"):
        plain.released(BATCH.window, BATCH.time, WEIGHTS)


def test_a_row_is_predicted_alone_as_in_company() -> None:
    bound = Predictor(BUILT.infer).bind(WEIGHTS)
    together = bound(BATCH.window, BATCH.time)
    alone = [bound(BATCH.window[i : i + 1], BATCH.time[i : i + 1])[0] for i in range(8)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5)


def test_bound_parameters_and_earlier_predictions_are_copies() -> None:
    weights = {name: array.copy() for name, array in WEIGHTS.items()}
    bound = Predictor(BUILT.infer).bind(weights)
    first = bound(BATCH.window, BATCH.time)
    kept = first.copy()
    for array in weights.values():
        array[...] = 0
    assert (bound(BATCH.window[::-1], BATCH.time) != kept).any()
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(bound(BATCH.window, BATCH.time), kept)


def test_two_sets_of_parameters_are_bound_side_by_side() -> None:
    predictor = Predictor(BUILT.infer)
    fresh, moved = predictor.bind(BUILT.weights), predictor.bind(WEIGHTS)
    before = fresh(BATCH.window, BATCH.time)
    assert (moved(BATCH.window, BATCH.time) != before).any()
    np.testing.assert_array_equal(fresh(BATCH.window, BATCH.time), before)


def test_arrays_need_not_be_contiguous() -> None:
    wide = np.repeat(BATCH.window, 2, axis=0)
    predictor = Predictor(BUILT.infer)
    turned = {n: np.asarray(a, order="F") for n, a in WEIGHTS.items()}
    expected = predictor.run(BATCH.window, BATCH.time, WEIGHTS)
    np.testing.assert_array_equal(predictor.run(wide[::2], BATCH.time, turned), expected)
    np.testing.assert_array_equal(predictor.bind(turned)(wide[::2], BATCH.time), expected)


def test_a_graph_without_clock_leaves_the_time_aside() -> None:
    built = build(model_spec(), np.random.default_rng(0))
    predictor = Predictor(built.infer)
    passed = predictor.run(BATCH.window, BATCH.time, built.weights)
    np.testing.assert_array_equal(passed, predictor.bind(built.weights)(BATCH.window, BATCH.time))
    Trainer(built.train).step(BATCH, built.weights, initial_state(built.manifest), 0.1)


def test_a_step_leaves_what_it_was_given_as_it_was() -> None:
    state = initial_state(BUILT.manifest)
    before = {name: array.copy() for name, array in (WEIGHTS | state).items()}
    new, kept, losses = Trainer(BUILT.train).step(BATCH, WEIGHTS, state, 0.1)
    assert (new.keys(), kept.keys()) == (WEIGHTS.keys(), state.keys())
    assert losses.shape == (8,)
    for name, array in (WEIGHTS | state).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_missing_or_unknown_parameter_is_refused_by_name() -> None:
    less = {name: array for name, array in WEIGHTS.items() if name != "head.bias"}
    more = {**WEIGHTS, "other": np.zeros(1, np.float32)}
    predictor = Predictor(BUILT.infer)
    for arrays, words in ((less, r"missing \['head.bias'\]"), (more, r"unknown \['other'\]")):
        with pytest.raises(BundleError, match=words):
            predictor.run(BATCH.window, BATCH.time, arrays)
        with pytest.raises(BundleError, match=words):
            predictor.bind(arrays)


def test_windows_of_another_shape_are_refused_not_repeated() -> None:
    predictor = Predictor(BUILT.infer)
    for window in (BATCH.window[:, :1], BATCH.window[:, :, :1]):
        with pytest.raises(BundleError, match=r"infer\.onnx"):
            predictor.bind(WEIGHTS)(window, BATCH.time)
        with pytest.raises(BundleError, match=r"infer\.onnx cannot run on these arrays"):
            predictor.run(window, BATCH.time, WEIGHTS)


def test_parameters_of_another_shape_are_refused() -> None:
    wrong = {**WEIGHTS, "head.weight": np.zeros((5, 1), np.float32)}
    with pytest.raises(BundleError, match=r"`head.weight` is float32 \[4, 1\], not \[5, 1\]"):
        Predictor(BUILT.infer).bind(wrong)
    with pytest.raises(BundleError, match=r"train\.onnx cannot run on these arrays"):
        Trainer(BUILT.train).step(BATCH, wrong, initial_state(BUILT.manifest), 0.1)


@pytest.mark.parametrize("graph", [b"", b"\x08\x0a", BUILT.infer[:-40], b"x" * 500])
def test_bytes_that_are_no_model_are_refused(graph: bytes) -> None:
    with pytest.raises(BundleError, match=r"infer\.onnx"):
        Predictor(graph)


def test_a_graph_that_is_too_large_is_not_opened() -> None:
    with pytest.raises(BundleError, match="at most"):
        Predictor(bytes(MAX_GRAPH_BYTES + 1))


def test_a_graph_that_would_read_another_file_is_not_opened() -> None:
    model = onnx.load_model_from_string(BUILT.infer)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(BundleError, match="keeps a tensor in another file"):
        Predictor(model.SerializeToString())


def test_a_graph_without_window_or_prediction_is_refused() -> None:
    graph = Graph()
    graph.output(graph.op("Neg", graph.input("window", ("N", 1, 1)), name="y"))
    with pytest.raises(BundleError, match="no output `prediction`"):
        Predictor(encode(graph))
    graph = Graph()
    graph.output(graph.op("Neg", graph.input("x", ("N",)), name="prediction"))
    with pytest.raises(BundleError, match="no input `window`"):
        Predictor(encode(graph))


def test_running_needs_no_onnx(tmp_path: Path) -> None:
    (tmp_path / "infer.onnx").write_bytes(BUILT.infer)
    program = (
        "import sys, pathlib\n"
        "from headwater_models.session import Predictor\n"
        "Predictor(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "assert 'onnx' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "infer.onnx")]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize("told", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_the_runtime_keeps_no_identity_to_report_under(
    tmp_path: Path, told: dict[str, str]
) -> None:
    """Its telemetry begins with a database under the user's home, which then is not there."""
    program = (
        "import sys; from pathlib import Path; from headwater_models.session import Predictor;"
        "Predictor(Path(sys.argv[1]).read_bytes())"
    )
    graph = tmp_path / "infer.onnx"
    graph.write_bytes(BUILT.infer)
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environ = kept | {"HOME": str(home)} | told  # in CI it would be silent by itself
    subprocess.run([sys.executable, "-c", program, str(graph)], check=True, env=environ)
    assert list(home.iterdir()) == []
