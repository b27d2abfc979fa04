"""Operators of classical models, lowered, give what ONNX Runtime's own do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.importing.classical import class_names, lower

ML = "ai.onnx.ml"
LABELS: dict[str, Any] = {"classlabels_strings": ["a", "b", "c"]}
LINEAR: dict[str, Any] = {
    "coefficients": [float(i % 5 - 2) for i in range(9)],
    "intercepts": [0.5, -1.0, 2.0],
}
X = np.array([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 0.5, -1.0]], np.float32)


def graph(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Any:
    node = helper.make_node(
        operator, ["x", *inputs], list(outputs), name="it", domain=ML, **attributes
    )
    return helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([2, 0]), "at")],
    )


def run(made: onnx.GraphProto, x: np.ndarray[Any, Any]) -> Any:
    sets = [helper.make_opsetid("", 21), helper.make_opsetid(ML, 3)]
    model = helper.make_model(made, opset_imports=sets, ir_version=10)
    return ort.InferenceSession(model.SerializeToString()).run(["y"], {"x": x})[0]


@pytest.mark.parametrize(
    "made",
    [
        graph("Scaler", offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, 1.0]),
        *(graph("Normalizer", norm=norm) for norm in ("L1", "L2", "MAX")),
        graph("Imputer", imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=0.0),
        graph("Imputer", imputed_value_floats=[7.0], replaced_value_float=float("nan")),
        graph("Binarizer", threshold=0.5),
        graph("ArrayFeatureExtractor", "at"),
        graph("OneHotEncoder", cats_int64s=[0, 4, -2]),
        graph("LinearRegressor", targets=3, **LINEAR),
        *(
            graph("LinearClassifier", outputs=("l", "y"), post_transform=post, **LINEAR, **LABELS)
            for post in ("NONE", "LOGISTIC", "SOFTMAX")
        ),
    ],
    ids=lambda made: made.node[0].op_type,
)
def test_a_lowered_operator_gives_what_the_runtime_does(made: onnx.GraphProto) -> None:
    lowered = lower(made)
    assert {node.domain for node in lowered.node} == {""}
    x = X.copy()
    if made.node[0].op_type == "Imputer":
        x[2, 1] = np.nan
    np.testing.assert_allclose(run(lowered, x), run(made, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (graph("Imputer", imputed_value_int64s=[1]), "fills integers"),
        (graph("OneHotEncoder", cats_strings=["a"]), "are text; .* that a channel with categories"),
        (graph("LinearRegressor", targets=3, post_transform="PROBIT", **LINEAR), "is PROBIT"),
        (graph("LinearRegressor", targets=2, **LINEAR), "one row of coefficients for each of 2"),
    ],
)
def test_what_cannot_be_lowered_is_refused_by_name(made: onnx.GraphProto, why: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"\(node 'it'\) cannot be imported: .*{why}"):
        lower(made)


def test_classes_are_those_of_the_classifier() -> None:
    made = graph("LinearClassifier", outputs=("l", "y"), **LINEAR, **LABELS)
    assert class_names(made) == ("a", "b", "c")
    assert class_names(graph("Scaler")) == ()


def test_of_one_classifier_for_each_class_none_names_them_all() -> None:
    made = graph("LinearClassifier", outputs=("l", "y"), **LINEAR, **LABELS)
    made.node.append(made.node[0])
    assert class_names(made) == ()
    made.node.append(helper.make_node("ZipMap", ["y"], ["z"], classlabels_int64s=[3, 5]))
    assert class_names(made) == ("3", "5")
