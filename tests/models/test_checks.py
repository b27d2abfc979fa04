"""The laws of a bundle hold for what is built and are broken by what is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper

from headwater.errors import BundleError
from headwater_models.bundle import Bundle
from headwater_models.checks import ROWS, check_bundle, golden_windows
from headwater_models.graphs.builders import build
from headwater_models.manifest import Task
from tests.models.bundles import spec, tiny


def laws(bundle: Bundle) -> list[str]:
    return list(check_bundle(bundle, np.random.default_rng(0)))


def built(kind: str, task: Task) -> Bundle:
    classes = ("dry", "moist", "wet") if task == "classification" else ()
    wanted = msgspec.structs.replace(
        spec(kind),
        task=task,
        classes=classes,
        loss="cross_entropy" if classes else "huber",
        inputs=("window", "time"),
    )
    made = build(wanted, np.random.default_rng(1))
    return Bundle(manifest=made.manifest, infer=made.infer, train=made.train, weights=made.weights)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("task", ["forecast", "regression", "classification"])
def test_every_law_holds_for_what_headwater_builds(kind: str, task: Task) -> None:
    assert len(laws(built(kind, task))) == 8


def test_golden_windows_are_within_reach_and_lack_values_where_they_say_so() -> None:
    windows = golden_windows(tiny().manifest, np.random.default_rng(0))
    assert {window.shape for window in windows.values()} == {(ROWS, 3, 2)}
    assert np.isnan(windows["windows without a value"]).all()
    assert np.isnan(windows["random windows with gaps"]).any()
    spread = windows["random windows"]
    assert (spread >= 0).all()
    assert (spread <= [10, 50]).all()


Edit = Callable[[onnx.GraphProto], None]


def edited(name: str, edit: Edit) -> Bundle:
    model = onnx.load_model_from_string(getattr(tiny(), name))
    edit(model.graph)
    return dataclasses.replace(tiny(), **{name: model.SerializeToString()})


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
        ("infer", subtract_the_mean_of_the_batch, "changes with the windows beside it"),
        ("train", forget_the_state, "rows of weight 0 change head.weight"),
        ("train", lose_the_loss, "loss is not finite after one step"),
    ],
)
def test_a_graph_that_breaks_a_law_is_refused(name: str, edit: Edit, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        laws(edited(name, edit))


def test_graphs_of_another_manifest_are_refused() -> None:
    other = dataclasses.replace(tiny("mlp"), infer=tiny().infer)
    with pytest.raises(BundleError, match=r"infer\.onnx"):
        laws(other)
