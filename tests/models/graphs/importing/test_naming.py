"""Arrays learn by what they do in the model, and get names that a manifest takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.importing import read_source
from headwater_models.graphs.importing.naming import RESERVED, learned, legal, local
from headwater_models.graphs.importing.source import standard_source
from headwater_models.manifest import Array
from tests.models.graphs.importing.exports import FOLDER
from tests.models.graphs.importing.test_source import model


def names(file: str, *patterns: str) -> list[str]:
    return sorted(learned(read_source(FOLDER / file), patterns).values())


@given(st.lists(st.text(max_size=150)))
def test_every_name_becomes_one_of_its_own_that_a_manifest_takes(texts: list[str]) -> None:
    taken: list[str] = []
    for text in texts:
        taken.append(legal(text, taken))
    assert len(set(taken)) == len(texts)
    assert not RESERVED.intersection(taken)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name) for name in taken)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("perceptron.script.onnx", ["0.bias", "0.weight", "2.bias", "2.weight"]),
        (
            "residual.script.onnx",
            [
                *("block.0.bias", "block.3.bias", "head.bias", "head.weight", "norm.bias"),
                *("norm.weight", "onnx.MatMul_28", "onnx.MatMul_29", "onnx.MatMul_30"),
                "stem.bias",
            ],
        ),
        ("lstm.dynamo.onnx", ["head.bias", "head.weight", "val_111", "val_112", "val_113"]),
        ("ridge.sklearn.onnx", ["LinearRegressor.coefficients", "LinearRegressor.intercepts"]),
        ("mlp_two.sklearn.onnx", ["coefficient", "coefficient1", "intercepts", "intercepts1"]),
    ],
)
def test_weights_and_biases_learn_and_scalers_do_not(file: str, expected: list[str]) -> None:
    assert names(file) == expected


def test_both_arrays_of_a_normalised_weight_learn() -> None:
    made = {"first.bias", "second.bias", "beside.bias", "beside.weight", "head.bias", "head.weight"}
    for layer in ("first", "second"):
        made |= {f"{layer}.parametrizations.weight.original{part}" for part in (0, 1)}
    assert set(names("tcn.script.onnx")) == made


def test_what_batch_normalisation_has_measured_never_learns() -> None:
    for file in ("convolution.dynamo.onnx", "convolution.script.onnx"):
        assert {"entry.weight", "entry.bias"} <= set(names(file))
        assert not [name for name in names(file, "*") if "running" in name]


def test_a_constant_of_the_exporter_learns_only_where_it_is_named() -> None:
    constant = helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0])
    product = helper.make_node("MatMul", ["x", "w"], ["p"])
    moved = helper.make_node("Add", ["p", "c"], ["y"])
    source = standard_source(model([constant, product, moved]), "m.onnx")
    assert list(learned(source, ())) == ["w"]
    assert list(learned(source, ("c",))) == ["c"]


def test_patterns_choose_by_either_name() -> None:
    assert names("residual.script.onnx", "onnx::MatMul_2?") == ["onnx.MatMul_28", "onnx.MatMul_29"]
    assert names("residual.script.onnx", "head.*") == ["head.bias", "head.weight"]
    assert names("ridge.sklearn.onnx", "Scaler.*") == ["Scaler.offset", "Scaler.scale"]


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"train: 'fc\*' matches none of the arrays 0"):
        names("perceptron.script.onnx", "fc*")
    with pytest.raises(UnsupportedError, match=r"local: 'head\*' matches none of the arrays w."):
        local([Array(name="w", shape=(1,))], ["head*"])


def test_local_arrays_stay() -> None:
    arrays = local([Array(name="a.w", shape=(1,)), Array(name="b.w", shape=(1,))], ["b.*"])
    assert [array.merge for array in arrays] == ["mean", "local"]
