"""The one table of operators that can be differentiated."""

from __future__ import annotations

from headwater_models.graphs.gradients import (
    activations,
    arithmetic,
    convolution,
    layout,
    normalisation,
    pooling,
    products,
    reductions,
    selection,
)
from headwater_models.graphs.gradients.rule import Rule


def rules() -> dict[str, Rule]:
    """Return the rule of each operator that can be differentiated."""
    return {rule: made for kind in rules_by_kind().values() for rule, made in kind.items()}


def rules_by_kind() -> dict[str, dict[str, Rule]]:
    """Return the rules as the documentation lists them."""
    return {
        "Arithmetic": {
            "Add": lambda _, g: (g, g),
            "Sub": lambda _, g: (g, -g),
            "Mul": arithmetic.multiply,
            "Div": arithmetic.divide,
            "Neg": lambda _, g: (-g,),
            "Pow": arithmetic.power,
            "Max": arithmetic.extreme,
            "Min": arithmetic.extreme,
            "Sum": lambda n, g: [g] * len(n.inputs),
            "Mean": arithmetic.mean,
            "Clip": arithmetic.clip,
        },
        "Functions of one number": {
            "Abs": arithmetic.absolute,
            "Cast": lambda n, g: (g.cast(n.inputs[0].dtype),),
            "Cos": arithmetic.cosine,
            "Erf": activations.erf,
            "Exp": lambda n, g: (g * n.outputs[0],),
            "Identity": lambda _, g: (g,),
            "Log": lambda n, g: (g / n.inputs[0],),
            "Reciprocal": lambda n, g: (-(g * n.outputs[0] * n.outputs[0]),),
            "Sin": arithmetic.sine,
            "Sqrt": lambda n, g: (g * 0.5 / n.outputs[0],),
            **dict.fromkeys(("Ceil", "Floor", "Round", "Sign"), lambda *_: ()),
        },
        "Activations": {
            "Elu": activations.elu,
            "Gelu": activations.gelu,
            "HardSigmoid": activations.hard_sigmoid,
            "HardSwish": activations.hard_swish,
            "LeakyRelu": activations.leaky_relu,
            "Mish": activations.mish,
            "PRelu": activations.p_relu,
            "Relu": activations.relu,
            "Selu": activations.selu,
            "Sigmoid": activations.sigmoid,
            "Softplus": activations.softplus,
            "Softsign": activations.softsign,
            "Tanh": activations.tanh,
            "ThresholdedRelu": activations.thresholded_relu,
            "Dropout": activations.dropout,
        },
        "Products": {
            "MatMul": products.matmul,
            "Gemm": products.gemm,
            "Einsum": products.einsum,
        },
        "Reductions": {
            "ReduceSum": reductions.total,
            "ReduceMean": reductions.mean,
            "ReduceMax": reductions.extreme,
            "ReduceMin": reductions.extreme,
            "ReduceL1": reductions.norm_1,
            "ReduceL2": reductions.norm_2,
            "ReduceSumSquare": reductions.sum_of_squares,
            "ReduceLogSum": reductions.log_sum,
            "ReduceLogSumExp": reductions.log_sum_exp,
            "CumSum": reductions.running_sum,
            "Softmax": reductions.softmax,
            "LogSoftmax": reductions.log_softmax,
        },
        "Layout": {
            "Concat": layout.concat,
            "Expand": lambda _, g: (g,),
            "Flatten": layout.reshape,
            "Pad": layout.pad,
            "Reshape": layout.reshape,
            "Slice": layout.slice_,
            "Split": layout.split,
            "Squeeze": layout.reshape,
            "Tile": layout.tile,
            "Transpose": layout.transpose,
            "Unsqueeze": layout.reshape,
        },
        "Selection": {
            "Gather": selection.gather,
            "GatherElements": selection.gather_elements,
            "GatherND": selection.gather_nd,
            "ScatterElements": selection.scatter_elements,
            "ScatterND": selection.scatter_nd,
            "TopK": selection.top_k,
            "Trilu": selection.triangle,
            "Where": selection.where,
        },
        "Convolution and pooling": {
            "Conv": convolution.convolution,
            "ConvTranspose": convolution.transposed,
            "AveragePool": pooling.average,
            "MaxPool": pooling.maximum,
            "GlobalAveragePool": pooling.global_average,
            "GlobalMaxPool": pooling.global_maximum,
        },
        "Normalisation": {
            "BatchNormalization": normalisation.batch,
            "InstanceNormalization": normalisation.instance,
            "LayerNormalization": normalisation.layer,
        },
    }
