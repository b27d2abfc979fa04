"""The laws of a bundle hold for what is built and are broken by what is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from headwater.errors import BundleError
from headwater_models.bundle import Bundle
from headwater_models.checks import ROWS, check_bundle, golden_windows
from headwater_models.graphs.builders import build
from headwater_models.graphs.stack import stack_inference
from headwater_models.manifest import Channel, Optimiser, Task
from tests.models.bundles import CHANNELS, spec, tiny

MODE = Channel(name="mode", minimum=0, maximum=2, categories=("off", "on", "auto"))
MODE_2 = Channel(name="mode_2", minimum=0, maximum=1, categories=("shut", "open"))


def laws(bundle: Bundle) -> list[str]:
    return list(check_bundle(bundle, np.random.default_rng(0)))


def built(kind: str, task: Task, **changes: Any) -> Bundle:
    classes = ("dry", "moist", "wet") if task == "classification" else ()
    facts = {
        "kind": kind,
        "task": task,
        "classes": classes,
        "loss": "cross_entropy" if classes else "huber",
        "inputs": ("window", "time"),
    }
    made = build(msgspec.structs.replace(spec(), **facts | changes), np.random.default_rng(1))
    return Bundle(
        manifest=made.manifest,
        infer=made.infer,
        train=made.train,
        weights=made.weights,
        stacked=stack_inference(made.infer, made.manifest),
    )


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("task", ["forecast", "regression", "classification"])
def test_every_law_holds_for_what_headwater_builds(kind: str, task: Task) -> None:
    assert len(laws(built(kind, task))) == 9


@pytest.mark.parametrize(
    ("facts", "law"),
    [
        ({"kind": "autoencoder", "task": "anomaly"}, "the loss of a window is its score"),
        ({"loss": "quantile", "quantiles": (0.1, 0.9)}, "quantiles never cross"),
        ({"freeze": ("hidden.*",)}, "a training step leaves what is frozen"),
        ({"personal": "blend"}, "a personal part adds nothing"),
        ({"learner": "ridge"}, "statistics do not depend on the order"),
        ({"learner": "naive_bayes", "task": "classification"}, "leaves what is frozen as it was"),
    ],
)
def test_what_a_model_has_more_has_a_law_more(facts: dict[str, Any], law: str) -> None:
    kept = laws(built(**{"kind": "mlp", "task": "forecast"} | facts))
    assert len(kept) >= 10
    assert any(law in each for each in kept)


SMALL = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["linear", "mlp", "resnet", "cnn", "gru"]),
        "task": st.sampled_from(["forecast", "regression", "classification", "anomaly"]),
        "quantiles": st.sampled_from([(), (0.5,), (0.1, 0.3, 0.9)]),
        "window": st.integers(1, 5),
        "hidden": st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
        "activation": st.sampled_from(["relu", "tanh", "silu"]),
        "normalise": st.sampled_from(["none", "layer"]),
        "kernel": st.integers(2, 4),
        "embedding": st.integers(1, 3),
        "personal": st.sampled_from(["none", "head", "blend"]),
        "learner": st.sampled_from(["gradient", "gradient", "ridge", "naive_bayes"]),
        "freeze": st.sampled_from([(), ("head.*",), ("*.bias",)]),
        "channels": st.sampled_from([CHANNELS, (*CHANNELS, MODE), (MODE, *CHANNELS, MODE_2)]),
        "optimiser": st.builds(
            Optimiser,
            name=st.sampled_from(["sgd", "momentum", "adam", "adamw"]),
            clip=st.sampled_from([0.0, 1.0]),
        ),
    }
)


@settings(max_examples=30, deadline=None)
@given(SMALL)
def test_every_law_holds_for_any_small_model(facts: dict[str, Any]) -> None:
    if facts["task"] == "anomaly":
        facts |= {"kind": "autoencoder", "quantiles": (), "learner": "gradient"}
    elif facts["task"] == "classification":
        facts["quantiles"] = ()
    elif facts["learner"] == "naive_bayes":
        facts["learner"] = "gradient"
    if facts["learner"] != "gradient":
        facts |= {"personal": "none", "quantiles": ()}
    if facts["quantiles"]:
        facts["loss"] = "quantile"
    laws(built(**facts))


def test_golden_windows_are_within_reach_and_lack_values_where_they_say_so() -> None:
    windows = golden_windows(tiny().manifest, np.random.default_rng(0).random)
    assert {window.shape for window in windows.values()} == {(ROWS, 3, 2)}
    assert np.isnan(windows["windows without a value"]).all()
    assert np.isnan(windows["random windows with gaps"]).any()
    spread = windows["random windows"]
    assert (spread >= 0).all()
    assert (spread <= [10, 50]).all()


def test_golden_cells_of_a_channel_with_categories_are_indices() -> None:
    manifest = built("linear", "forecast", channels=(*CHANNELS, MODE)).manifest
    cells = golden_windows(manifest, np.random.default_rng(0).random)["random windows"][:, :, 2]
    assert set(cells.ravel()) == {0, 1, 2}


Edit = Callable[[onnx.GraphProto], None]


def edited(name: str, edit: Edit, bundle: Bundle | None = None) -> Bundle:
    whole = bundle or tiny()
    model = onnx.load_model_from_string(getattr(whole, name))
    edit(model.graph)
    return dataclasses.replace(whole, **{name: model.SerializeToString()})


def _last(graph: onnx.GraphProto, output: str, operator: str, *more: str) -> None:
    """Put one more operator before an output."""
    for node in graph.node:
        for at, name in enumerate(node.output):
            if name == output:
                node.output[at] = "before"
    graph.node.append(helper.make_node(operator, ["before", *more], [output]))


def rename_the_prediction(graph: onnx.GraphProto) -> None:
    _last(graph, "prediction", "Identity")
    graph.node[-1].output[0] = graph.output[0].name = "forecast"


def take_the_logarithm(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Sub", ["before", "before"], ["zero"]))
    _last(graph, "prediction", "Identity")
    graph.node.pop()
    graph.node.append(helper.make_node("Log", ["zero"], ["prediction"]))


def subtract_the_mean_of_the_batch(graph: onnx.GraphProto) -> None:
    _last(graph, "prediction", "Identity")
    graph.node.pop()
    graph.node.append(helper.make_node("ReduceMax", ["before"], ["most"], keepdims=1))
    graph.node.append(helper.make_node("Sub", ["before", "most"], ["prediction"]))


def forget_the_state(graph: onnx.GraphProto) -> None:
    _last(graph, "new.head.weight", "Cos")


def lose_the_loss(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Sub", ["before", "before"], ["zero"]))
    _last(graph, "loss", "Identity")
    graph.node.pop()
    graph.node.append(helper.make_node("Log", ["zero"], ["loss"]))


@pytest.mark.parametrize(
    ("name", "edit", "complaint"),
    [
        ("infer", rename_the_prediction, "output `forecast` is float32"),
        ("infer", take_the_logarithm, "the prediction on zeros is not finite"),
        ("infer", subtract_the_mean_of_the_batch, "windows beside it; .* computed alone"),
        ("train", forget_the_state, "rows of weight 0 change head.weight"),
        ("train", lose_the_loss, "loss is not finite after one step"),
    ],
)
def test_a_graph_that_breaks_a_law_is_refused(name: str, edit: Edit, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        laws(edited(name, edit))


def turn_the_quantiles(graph: onnx.GraphProto) -> None:
    _last(graph, "prediction", "Neg")


def double_the_released(graph: onnx.GraphProto) -> None:
    _last(graph, "released", "Add", "before")


def forget_what_is_frozen(graph: onnx.GraphProto) -> None:
    _last(graph, "new.head.bias", "Cos")


def gather_the_last_batch_alone(graph: onnx.GraphProto) -> None:
    _last(graph, "new.statistics.square", "Sub", "statistics.square")


def double_the_loss(graph: onnx.GraphProto) -> None:
    _last(graph, "loss", "Add", "before")


@pytest.mark.parametrize(
    ("facts", "name", "edit", "complaint"),
    [
        (
            {"loss": "quantile", "quantiles": (0.1, 0.9)},
            "infer",
            turn_the_quantiles,
            "the quantiles on zeros cross",
        ),
        ({"personal": "blend"}, "infer", double_the_released, "change the released prediction"),
        ({"freeze": ("head.bias",)}, "train", forget_what_is_frozen, "changes head.bias, which is"),
        ({"kind": "autoencoder", "task": "anomaly"}, "train", double_the_loss, "not its score"),
        ({"learner": "ridge"}, "train", gather_the_last_batch_alone, "depends on the order"),
    ],
)
def test_what_a_model_has_more_can_break_too(
    facts: dict[str, Any], name: str, edit: Edit, complaint: str
) -> None:
    bundle = built(**{"kind": "mlp", "task": "forecast"} | facts)
    with pytest.raises(BundleError, match=complaint):
        laws(edited(name, edit, bundle))


def test_graphs_of_another_manifest_are_refused() -> None:
    other = dataclasses.replace(tiny("mlp"), infer=tiny().infer)
    with pytest.raises(BundleError, match=r"infer\.onnx"):
        laws(other)


def test_a_graph_of_many_members_that_predicts_other_things_is_found() -> None:
    bundle, other = built("mlp", "forecast"), built("mlp", "forecast", activation="tanh")
    learned = {name: array + np.float32(0.5) for name, array in bundle.weights.items()}
    mixed = dataclasses.replace(bundle, stacked=other.stacked, weights=learned)
    with pytest.raises(BundleError, match=r"infer\.stacked\.onnx: on .* other than infer\.onnx"):
        laws(mixed)


def test_a_bundle_may_do_without_the_graph_of_many_members() -> None:
    kept = laws(dataclasses.replace(built("mlp", "forecast"), stacked=None))
    assert not any("in one call" in law for law in kept)
