"""Files are brought to one operator set, and to what one output needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headwater.errors import BundleError, StorageError, UnsupportedError
from headwater_models.graphs.importing import read_source
from headwater_models.graphs.importing.source import standard_source
from tests.models.graphs.importing.exports import FILES, FOLDER

FLOAT, INT64, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING


def model(
    nodes: list[onnx.NodeProto],
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
    kind: int = FLOAT,
    opset: int = 21,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, ["N", 3]) for name in inputs],
        [helper.make_tensor_value_info(name, FLOAT, ["N", 3]) for name in outputs],
        [numpy_helper.from_array(np.ones(3, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


ADD = helper.make_node("Add", ["x", "w"], ["y"], name="add")


@pytest.mark.parametrize("file", FILES)
def test_every_export_becomes_standard_operators(file: str) -> None:
    source = read_source(FOLDER / file)
    assert {node.domain for node in source.nodes} == {""}
    assert "Constant" not in {node.op_type for node in source.nodes}


def test_labels_of_classes_are_left_aside() -> None:
    source = read_source(FOLDER / "mlp_three.sklearn.onnx")
    assert source.output == "output_probability"
    assert source.classes == ("0", "1", "2")
    assert "ArgMax" not in {node.op_type for node in source.nodes}


def test_data_beside_the_file_are_read(tmp_path: Path) -> None:
    assert beside(tmp_path).stat().st_size > 0
    np.testing.assert_array_equal(read_source(tmp_path / "m.onnx").arrays["w"], np.ones(3))


def beside(folder: Path) -> Path:
    """Save a model whose arrays lie in a file of their own."""
    onnx.save(
        model([ADD]), folder / "m.onnx", save_as_external_data=True, size_threshold=0,
        location="m.onnx.data",
    )  # fmt: skip
    return folder / "m.onnx.data"


def test_data_that_are_missing_are_named_with_where_they_belong(tmp_path: Path) -> None:
    beside(tmp_path).unlink()
    with pytest.raises(
        StorageError,
        match=r"m\.onnx keeps its arrays in 'm\.onnx\.data', which is missing: .* must lie beside"
        r" .*external_data=False",
    ):
        read_source(tmp_path / "m.onnx")


def test_data_that_are_damaged_are_told(tmp_path: Path) -> None:
    data = beside(tmp_path)
    data.write_bytes(data.read_bytes()[:5])
    with pytest.raises(BundleError, match=r"m\.onnx: the arrays in the file beside it cannot be"):
        read_source(tmp_path / "m.onnx")


def test_an_old_operator_set_is_converted() -> None:
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])
    (node,) = standard_source(model([mean], opset=13), "m.onnx").nodes
    assert (node.op_type, len(node.input)) == ("ReduceMean", 2)


def test_an_operator_set_that_cannot_be_converted_is_refused() -> None:
    upsample = helper.make_node("Upsample", ["x", "w"], ["y"], mode="nearest")
    with pytest.raises(UnsupportedError, match=r"operator set 8 and cannot be brought to 21"):
        standard_source(model([upsample], opset=8), "m.onnx")


def test_a_function_of_the_file_is_put_in_its_place() -> None:
    doubled = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    whole = model([helper.make_node("Twice", ["x"], ["y"], domain="own")])
    whole.functions.append(doubled)
    whole.opset_import.append(helper.make_opsetid("own", 1))
    assert [node.op_type for node in standard_source(whole, "m.onnx").nodes] == ["Add"]


@pytest.mark.parametrize(("inputs", "kind"), [(("x", "z"), FLOAT), (("x",), INT64)])
def test_other_inputs_than_one_of_floats_are_refused(inputs: tuple[str, ...], kind: int) -> None:
    with pytest.raises(UnsupportedError, match=r"m.onnx takes 'x' \w+ \[N, 3\]"):
        standard_source(model([ADD], inputs, kind=kind), "m.onnx")


@pytest.mark.parametrize(
    ("operator", "domain", "sentence"),
    [
        ("SVMRegressor", "ai.onnx.ml", "no weights to average"),
        ("LabelEncoder", "ai.onnx.ml", "turns names into numbers.*a channel with categories"),
        ("FeatureVectorizer", "ai.onnx.ml", "there are .*OneHotEncoder.*Leave the step out"),
        ("FusedGemm", "com.microsoft", "an operator of com.microsoft; export with the operators"),
    ],
)
def test_an_operator_of_another_domain_is_refused_with_what_to_do(
    operator: str, domain: str, sentence: str
) -> None:
    whole = model([helper.make_node(operator, ["x"], ["y"], domain=domain, name="it")])
    whole.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(
        UnsupportedError, match=rf"^{operator} \(node 'it'\) cannot be imported: .*{sentence}"
    ):
        standard_source(whole, "m.onnx")


def test_names_for_an_input_are_refused_with_what_a_channel_holds() -> None:
    with pytest.raises(UnsupportedError, match="their index, as a channel with categories"):
        standard_source(model([ADD], kind=STRING), "m.onnx")


def test_which_of_several_outputs_predicts_must_be_said() -> None:
    nodes = [ADD, helper.make_node("Neg", ["x"], ["z"])]
    with pytest.raises(UnsupportedError, match=r"gives 'y' .* 'z' .*name .* by --output"):
        standard_source(model(nodes, outputs=("y", "z")), "m.onnx")
    source = standard_source(model(nodes, outputs=("y", "z")), "m.onnx", "z")
    assert [node.op_type for node in source.nodes] == ["Neg"]
    assert not source.arrays


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff\xff no model")
    with pytest.raises(BundleError, match="is not an ONNX model"):
        read_source(tmp_path / "m.onnx")
    with pytest.raises(StorageError):
        read_source(tmp_path / "none.onnx")
