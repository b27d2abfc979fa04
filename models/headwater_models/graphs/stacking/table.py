"""The one table of operators that take a leading axis of members."""

from __future__ import annotations

from headwater_models.graphs.stacking import (
    convolution,
    elementwise,
    layout,
    normalisation,
    products,
    reductions,
    selection,
)
from headwater_models.graphs.stacking.rule import Rule

ELEMENTWISE = (
    *("Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor"),
    *("Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsNaN"),
    *("LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul"),
    *("Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid"),
    *("Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu"),
    "Where",
)
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceSum", "ReduceSumSquare"),
)
_POOLING = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")


def rules() -> dict[str, Rule]:
    """Return the rule of each operator that can be stacked."""
    return {
        **dict.fromkeys(ELEMENTWISE, elementwise.elementwise),
        "Clip": elementwise.clip,
        "PRelu": elementwise.p_relu,
        "Dropout": elementwise.dropout,
        "Einsum": products.einsum,
        "Gemm": products.gemm,
        "MatMul": products.matmul,
        **dict.fromkeys(_REDUCTIONS, reductions.reduction),
        "ArgMax": reductions.along_first,
        "CumSum": reductions.running_sum,
        "LogSoftmax": reductions.along_last,
        "Softmax": reductions.along_last,
        "Concat": layout.concat,
        "Expand": layout.expand,
        "Flatten": layout.flatten,
        "Pad": layout.pad,
        "Reshape": layout.reshape,
        "Shape": layout.shape,
        "Size": layout.size,
        "Slice": layout.slice_,
        "Split": layout.split,
        "Squeeze": layout.squeeze,
        "Tile": layout.tile,
        "Transpose": layout.transpose,
        "Trilu": layout.triangle,
        "Unsqueeze": layout.unsqueeze,
        "Compress": selection.compress,
        "Gather": selection.gather,
        "GatherElements": selection.by_element,
        "GatherND": selection.gather_nd,
        "ScatterElements": selection.by_element,
        "ScatterND": selection.scatter_nd,
        "TopK": selection.top_k,
        "Conv": convolution.convolution,
        "ConvTranspose": convolution.transposed,
        **dict.fromkeys(_POOLING, convolution.pool),
        "BatchNormalization": normalisation.batch,
        "InstanceNormalization": normalisation.instance,
        "LayerNormalization": normalisation.layer,
    }
