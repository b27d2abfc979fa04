from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.stack import stack
from headwater_models.session import Predictor
from headwater_models.stacked import LoopedPredictor, StackedPredictor, Together, together
from tests.models.graphs.example import model_spec, random_weights, rows

Weights = dict[str, NDArray[np.float32]]

SPEC = model_spec(inputs=("window", "time"))
BUILT = build(SPEC, np.random.default_rng(0))
STACKED = stack(BUILT.infer, BUILT.weights)
BUNDLE = Bundle(
    manifest=BUILT.manifest,
    infer=BUILT.infer,
    train=BUILT.train,
    weights=BUILT.weights,
    stacked=STACKED,
)
BATCH = rows(SPEC, np.random.default_rng(2), 8).cast("float32")
KINDS: dict[str, Callable[[list[Weights]], Together]] = {
    "one call": lambda members: StackedPredictor(STACKED, members),
    "a loop": lambda members: LoopedPredictor(BUILT.infer, members),
}


def weights(seed: int) -> Weights:
    drawn = random_weights(BUILT.weights, np.random.default_rng(seed))
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def alone(member: Weights, count: int = 8) -> NDArray[np.float32]:
    return Predictor(BUILT.infer).run(BATCH.window[:count], BATCH.time[:count], member)


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[list[Weights]], Together]:
    return KINDS[request.param]


def test_members_predict_what_each_does_alone_for_any_number_of_rows(
    make: Callable[[list[Weights]], Together],
) -> None:
    members = [weights(seed) for seed in range(3)]
    run = make(members)
    for count in (8, 1, 8, 3, 0, 5):
        found = run(BATCH.window[:count], BATCH.time[:count])
        assert found.shape == (3, count, 1)
        expected = np.stack([alone(member, count) for member in members])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_member_gets_other_parameters_and_the_others_keep_theirs(
    make: Callable[[list[Weights]], Together],
) -> None:
    members = [weights(seed) for seed in range(3)]
    run = make(members)
    before = run(BATCH.window, BATCH.time)
    new = weights(9)
    run.put(1, new)
    new["head.bias"] += 1000  # they are copied
    after = run(BATCH.window, BATCH.time)
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_allclose(after[1], alone(weights(9)), rtol=1e-5)


def test_what_was_returned_does_not_change_with_the_next_call(
    make: Callable[[list[Weights]], Together],
) -> None:
    run = make([weights(0)])
    first = run(BATCH.window, BATCH.time)
    kept = first.copy()
    run(BATCH.window[::-1], BATCH.time)
    np.testing.assert_array_equal(first, kept)


def test_parameters_of_another_model_are_refused_and_change_nothing(
    make: Callable[[list[Weights]], Together],
) -> None:
    run = make([weights(0), weights(1)])
    before = run(BATCH.window, BATCH.time)
    other = weights(5)
    other.pop("head.bias")
    with pytest.raises(BundleError, match=r"missing \['head.bias'\]"):
        run.put(0, other)
    wrong = weights(5) | {"head.weight": np.zeros((5, 1), np.float32)}
    with pytest.raises(BundleError, match=r"`head.weight` is .*\[4, 1\], not .*\[5, 1\]"):
        run.put(0, wrong)
    np.testing.assert_array_equal(run(BATCH.window, BATCH.time), before)
    with pytest.raises(BundleError, match="cannot run on these arrays"):
        make([other])


@pytest.mark.parametrize("window", [BATCH.window[0], BATCH.window[:, :2], BATCH.window[None]])
def test_windows_of_another_shape_are_refused(
    make: Callable[[list[Weights]], Together], window: NDArray[np.float32]
) -> None:
    with pytest.raises(BundleError, match="takes a window"):
        make([weights(0)])(window, BATCH.time)


def test_each_member_may_have_a_window_of_its_own() -> None:
    members = [weights(seed) for seed in range(2)]
    run = StackedPredictor(stack(BUILT.infer, [*BUILT.weights, "window", "time"]), members)
    windows, times = (np.stack([a[:4], a[4:]]) for a in (BATCH.window, BATCH.time))
    found = run(windows, times)
    for number, member in enumerate(members):
        expected = Predictor(BUILT.infer).run(windows[number], times[number], member)
        np.testing.assert_allclose(found[number], expected, rtol=1e-5)


def test_a_bundle_with_the_graph_runs_in_one_call_and_another_says_that_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    members = [weights(0), weights(1)]
    with caplog.at_level(logging.WARNING):
        assert isinstance(together(BUNDLE, members), StackedPredictor)
        assert not caplog.records
        without = dataclasses.replace(BUNDLE, stacked=None)
        assert isinstance(together(without, members), LoopedPredictor)
    assert "has no infer.stacked.onnx, so its 2 members run one by one" in caplog.text


def test_a_graph_without_a_prediction_is_refused() -> None:
    graph = Graph()
    graph.output(graph.op("Neg", graph.input("window", ("N", 1, 1)), name="y"))
    with pytest.raises(BundleError, match=r"infer\.stacked\.onnx has no output `prediction`"):
        StackedPredictor(encode(graph), [{}])


def test_running_needs_no_onnx(tmp_path: Path) -> None:
    BUNDLE.save(tmp_path / "bundle")
    program = (
        "import sys, pathlib\n"
        "from headwater_models.bundle import Bundle\n"
        "from headwater_models.stacked import together\n"
        "bundle = Bundle.load(pathlib.Path(sys.argv[1]))\n"
        "assert bundle.stacked\n"
        "together(bundle, [bundle.weights, bundle.weights])\n"
        "assert 'onnx' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bundle")]
    subprocess.run(command, check=True, timeout=60)
