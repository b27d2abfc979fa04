from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import BundleError, UnsupportedError
from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.builders.solved import on_backbone
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.serialisation import encode
from headwater_models.interface import check_graphs
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.statistics import solve
from headwater_models.statistics.naive_bayes import LOG_PRIOR, LOG_VARIANCE, MEAN
from headwater_models.statistics.ridge import BIAS, CALIBRATION, OFFSET, WEIGHT
from tests.models.graphs.example import model_spec, rows

Floats = NDArray[Any]
SPECS = (
    model_spec(),
    model_spec(task="regression"),
    model_spec(task="classification"),
)
each = pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.task)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def taught(built: Built) -> dict[str, Floats]:
    """Weights that have moved away from the ones that stand in the graph."""
    moved = rng(9)
    return {n: (a + moved.normal(size=a.shape)).astype("f4") for n, a in built.weights.items()}


def softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def test_a_built_model_keeps_every_law_of_a_bundle() -> None:
    for spec in SPECS:
        made = build(msgspec.structs.replace(spec, learner="ridge"), rng())
        bundle = Bundle(
            manifest=made.manifest, infer=made.infer, train=made.train, weights=made.weights
        )
        assert list(check_bundle(bundle, rng()))


@each
def test_the_backbone_of_a_taught_model_is_kept_bit_for_bit_and_frozen(spec: ModelSpec) -> None:
    before = build(spec, rng())
    weights = taught(before)

    manifest, infer, train, first = on_backbone(before.manifest, before.infer, weights, "ridge")

    check_graphs(manifest, infer, train)
    frozen = {array.name for array in manifest.arrays if array.frozen}
    assert frozen == {"hidden.1.weight", "hidden.1.bias"}
    assert all(first[name].tobytes() == weights[name].tobytes() for name in frozen)
    batch = rows(spec, rng(1)).cast("float32")
    ours = Predictor(infer).features(batch.window, batch.time, first)
    theirs = Predictor(before.infer).features(batch.window, batch.time, weights)
    assert ours.tobytes() == theirs.tobytes()


@each
def test_before_anything_is_solved_it_says_what_an_untaught_model_says(spec: ModelSpec) -> None:
    before = build(spec, rng())
    manifest, infer, _, first = on_backbone(before.manifest, before.infer, taught(before), "ridge")

    batch = rows(spec, rng(1)).cast("float32")
    said = Predictor(infer).run(batch.window, batch.time, first)

    untaught = Predictor(before.infer).run(batch.window, batch.time, before.weights)
    np.testing.assert_allclose(said, untaught, rtol=1e-6)
    assert manifest.learner == "ridge"


@each
def test_a_ridge_head_predicts_from_its_scores(spec: ModelSpec) -> None:
    made = build(msgspec.structs.replace(spec, learner="ridge"), rng())
    head = taught(made)
    batch = rows(spec, rng(1), missing=0).cast("float32")

    said = Predictor(made.infer).run(batch.window, batch.time, head)

    scores = Predictor(made.infer).features(batch.window, batch.time, head) @ head[WEIGHT]
    scores = scores + head[BIAS]
    assert spec.scaling is not None
    if spec.task == "classification":
        expected = softmax(scores @ head[CALIBRATION] + head[OFFSET])
    elif spec.task == "forecast":
        expected = batch.window[:, -1, :1] + spec.scaling.scale[0] * scores
    else:
        expected = spec.scaling.label_mean + spec.scaling.label_scale * scores
    np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-5)


def test_a_naive_bayes_head_predicts_from_the_likelihood_of_each_class() -> None:
    spec = model_spec(task="classification", learner="naive_bayes")
    made = build(spec, rng())
    head = taught(made)
    batch = rows(spec, rng(1)).cast("float32")

    said = Predictor(made.infer).run(batch.window, batch.time, head)

    features = Predictor(made.infer).features(batch.window, batch.time, head)
    apart = np.square(features[:, None] - head[MEAN]) * np.exp(-head[LOG_VARIANCE])
    likelihood = head[LOG_PRIOR] - 0.5 * (apart + head[LOG_VARIANCE]).sum(axis=2)
    np.testing.assert_allclose(said, softmax(likelihood), rtol=1e-4, atol=1e-6)


def test_what_is_gathered_and_solved_predicts_the_labels() -> None:
    spec = model_spec(kind="linear", task="regression", learner="ridge", ridge=1e-3)
    made = build(spec, rng())
    batch = rows(spec, rng(1), count=500, missing=0).cast("float32")
    truth = batch.window[:, -1, :1] - 2 * batch.window[:, 0, :1]
    asked = type(batch)(batch.window, batch.time, truth, np.ones(500, np.float32))

    trainer = Trainer(made.train)
    _, gathered, _ = trainer.step(asked, made.weights, initial_state(made.manifest), 0.0)
    solved = made.weights | solve(made.manifest, gathered)

    said = Predictor(made.infer).run(batch.window, batch.time, solved)
    np.testing.assert_allclose(said, truth, atol=0.01)


def imported(width: int | str = 3) -> tuple[Manifest, bytes]:
    """A model by another program: features without scaling, and a prediction of its own."""
    spec = model_spec(task="regression", kind="linear")
    graph = Graph()
    window = graph.input("window", ("N", 3, 2))
    weight = graph.parameter("theirs", rng().normal(size=(6, 3)))
    flat = graph.op("Reshape", window, np.array([-1, 6], np.int64))
    named = graph.op("Tanh", flat @ weight, name="features", shape=("N", width))
    graph.output(named)
    graph.output(graph.op("Identity", named.sum([1], keepdims=True), name="prediction"))
    return build(spec, rng()).manifest, encode(graph)


def test_an_imported_backbone_without_scales_learns_the_label_as_it_is() -> None:
    manifest, infer = imported()
    theirs = {"theirs": rng().normal(size=(6, 3)).astype(np.float32)}

    made, inferring, training, first = on_backbone(manifest, infer, theirs, "ridge", ridge=1e-4)

    window = rng(1).normal(size=(200, 3, 2)).astype(np.float32)
    features = np.tanh(window.reshape(-1, 6) @ theirs["theirs"])
    label = 5 + features @ np.array([[1], [2], [3]], np.float32)
    batch = rows(model_spec(), rng(2), count=200)
    asked = type(batch)(window, batch.time, label, np.ones(200))
    _, gathered, _ = Trainer(training).step(asked.cast("float32"), first, initial_state(made), 0.0)
    solved = first | solve(made, gathered)
    said = Predictor(inferring).run(window, batch.time, solved)
    np.testing.assert_allclose(said, label, atol=1e-3)
    np.testing.assert_allclose(solved["head.weight"][:, 0], [1, 2, 3], atol=1e-3)
    check_graphs(made, inferring, training)


def test_a_contribution_starts_at_the_larger_of_fifty_and_twice_the_features() -> None:
    small = build(model_spec(learner="ridge", hidden=(4,)), rng())
    large = build(model_spec(learner="ridge", hidden=(60,)), rng())
    told = build(model_spec(learner="ridge", min_count=7), rng())

    counts = [made.manifest.min_count for made in (small, large, told)]
    assert counts == [50, 120, 7]


def test_statistics_name_the_backbone_and_the_head_names_the_statistics() -> None:
    manifest = build(model_spec(learner="ridge"), rng()).manifest

    backbone = {"hidden.1.weight", "hidden.1.bias"}
    gathered = {array.name for array in manifest.statistics}
    assert all(set(array.depends_on) == backbone for array in manifest.statistics)
    solved = [array for array in manifest.arrays if array.merge == "solved"]
    assert all(set(array.depends_on) == gathered for array in solved)
    assert manifest.state == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"learner": "naive_bayes"},
        {"learner": "ridge", "loss": "quantile", "quantiles": (0.1, 0.9)},
        {"learner": "ridge", "personal": "head"},
    ],
)
def test_what_cannot_be_solved_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"does not fit|own statistics"):
        build(model_spec(**wrong), rng())


def test_an_anomaly_is_refused() -> None:
    spec = model_spec(task="anomaly", kind="autoencoder", learner="ridge")

    with pytest.raises(UnsupportedError, match="does not fit"):
        build(spec, rng())


def test_too_many_features_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="1200 features"):
        build(model_spec(hidden=(1200,), learner="ridge"), rng())


def test_a_graph_that_names_no_features_is_refused() -> None:
    manifest, _ = imported()
    graph = Graph()
    window = graph.input("window", ("N", 3, 2))
    graph.output(graph.op("Identity", window.sum([1, 2]), name="prediction"))

    with pytest.raises(UnsupportedError, match="no output 'features'"):
        on_backbone(manifest, encode(graph), {}, "ridge")


def test_a_ridge_of_zero_is_refused_where_a_manifest_is_read() -> None:
    manifest = build(model_spec(learner="ridge"), rng()).manifest
    text = manifest.encode().replace(b'"ridge":1.0', b'"ridge":0.0')

    with pytest.raises(BundleError, match="ridge"):
        Manifest.decode(text)
