"""The layers that networks are made of, and where their weights start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_models.graphs.builders.specification import Activation
from headwater_models.graphs.expression import Graph, Value

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Adds layers to a graph.

    Parameters
    ----------
    rng
        For the first weights: those of He et al. (2015) before relu and silu, of Glorot and
        Bengio (2010) before tanh.
    normalised
        Whether hidden layers are normalised before their activation.
    """

    graph: Graph
    rng: np.random.Generator
    activation: Activation
    normalised: bool

    def hidden(
        self, name: str, value: Value, width: int, gaps: NDArray[np.bool_] | None = None
    ) -> Value:
        """Return ``[..., width]`` after a linear layer, normalisation and activation.

        The weights of the columns in *gaps* start at zero, so that a missing cell starts as the
        mean and becomes more where that helps.
        """
        columns = np.zeros(int(value.shape[-1]), bool) if gaps is None else gaps
        linear = self.linear(name, value, self.first_weights(columns, width))
        return self.activate(self.normalise(f"{name}.norm", linear) if self.normalised else linear)

    def last(self, name: str, value: Value, width: int) -> Value:
        """Return ``[..., width]``, zeros at first."""
        return self.linear(name, value, np.zeros((int(value.shape[-1]), width)))

    def linear(self, name: str, value: Value, weight: Floats) -> Value:
        """Return ``value @ weight + bias``; the bias starts at zero."""
        bias = self.parameter(f"{name}.bias", np.zeros(weight.shape[1]))
        return value @ self.parameter(f"{name}.weight", weight) + bias

    def normalise(self, name: str, value: Value) -> Value:
        """Layer normalisation over the last axis (Ba et al. 2016)."""
        width = int(value.shape[-1])
        scale = self.parameter(f"{name}.scale", np.ones(width))
        bias = self.parameter(f"{name}.bias", np.zeros(width))
        return self.graph.op("LayerNormalization", value, scale, bias, axis=-1)

    def activate(self, value: Value) -> Value:
        """Apply the activation; silu is x * sigmoid(x) (Elfwing et al. 2018)."""
        match self.activation:
            case "relu":
                return self.graph.op("Relu", value)
            case "tanh":
                return self.graph.op("Tanh", value)
            case "silu":
                return value * self.graph.op("Sigmoid", value)

    def first_weights(self, gaps: NDArray[np.bool_], width: int) -> Floats:
        """Draw ``[len(gaps), width]``; the rows in *gaps* are zero."""
        weight = np.zeros((len(gaps), width))
        inputs = int((~gaps).sum())
        if self.activation == "tanh":
            weight[~gaps] = glorot(self.rng, inputs, width)
        else:
            weight[~gaps] = self.rng.normal(0.0, math.sqrt(2 / max(inputs, 1)), (inputs, width))
        return weight

    def parameter(self, name: str, first: Floats) -> Value:
        """Declare an array that learns; the float64 twin starts where float32 does."""
        return self.graph.parameter(name, first.astype(np.float32))


def glorot(rng: np.random.Generator, inputs: int, outputs: int) -> Floats:
    """Draw ``[inputs, outputs]`` as Glorot and Bengio (2010)."""
    bound = math.sqrt(6 / (inputs + outputs))
    return rng.uniform(-bound, bound, (inputs, outputs))
