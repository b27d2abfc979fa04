"""River's linear models as numbers: read, written back, and folded with the scalers before them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import numpy as np

from headwater_agent.rivers.dotted import river
from headwater_agent.rivers.head import Coefficients
from headwater_agent.rivers.inputs import CONSTANT
from headwater_agent.rivers.memory import Memory, read_memory, write_memory
from headwater_agent.rivers.scalers import Statistics, affine, is_scaler, read_scaler, write_scaler


class Numbers(msgspec.Struct):
    """All that a linear model has learned, by the names of its inputs.

    ``weights`` has an entry for each logit; ``memory`` is what optimisers remember beside;
    ``scalers`` hold the statistics of those before the model.
    """

    weights: list[dict[str, float]]
    intercept: float
    memory: list[Memory]
    scalers: list[Statistics]


class LinearModel:
    """A linear model of river, after scalers or alone, seen through its weights.

    Writing touches what river keeps to itself (``GLM._weights``), for it offers no other way; a
    test holds this against the installed version.
    """

    def __init__(self, model: Any, scalers: list[Any], classes: int) -> None:
        self._model = model
        self._scalers = scalers
        self._softmax = isinstance(model, river("linear_model").SoftmaxRegression)
        self.logits = classes if self._softmax else 1
        self._weights()  # river knows only the classes that were looked up

    @property
    def is_scaled(self) -> bool:
        """Whether statistics of this device's own are part of the model."""
        return bool(self._scalers)

    @property
    def lacks_intercept(self) -> bool:
        """Whether an input that is always 1 has to stand in for an intercept."""
        return self._softmax

    def numbers(self) -> Numbers:
        """Read everything."""
        return Numbers(
            weights=[
                {name: float(value) for name, value in weights.items()}
                for weights in self._weights()
            ],
            intercept=0.0 if self._softmax else float(self._model.intercept),
            memory=[read_memory(owner) for owner in self._rememberers()],
            scalers=[read_scaler(scaler) for scaler in self._scalers],
        )

    def restore(self, numbers: Numbers) -> None:
        """Write everything into a model that has not learned yet."""
        self._write(numbers.weights, numbers.intercept)
        empty = (lambda: defaultdict(float)) if self._softmax else river("utils").VectorDict
        for owner, memory in zip(self._rememberers(), numbers.memory, strict=True):
            write_memory(owner, memory, empty)
        for scaler, statistics in zip(self._scalers, numbers.scalers, strict=True):
            write_scaler(scaler, statistics)

    def coefficients(self, names: list[str]) -> Coefficients:
        """Return the weights over unscaled inputs: scalers and constant input are folded in."""
        inputs = [*names, CONSTANT] if self.lacks_intercept else names
        gain, shift = np.ones(len(inputs)), np.zeros(len(inputs))
        for scaler in self._scalers:
            scale, offset = affine(scaler, inputs)
            gain, shift = scale * gain, scale * (shift - offset)
        columns = self._weights()
        weight = np.array([[column.get(name, 0.0) for column in columns] for name in inputs])
        bias = shift @ weight + (0.0 if self._softmax else float(self._model.intercept))
        weight = gain[:, None] * weight
        if self.lacks_intercept:
            return Coefficients(weight[:-1], bias + weight[-1])
        return Coefficients(weight, bias)

    def set(self, names: list[str], coefficients: Coefficients) -> None:
        """Make these the model's own weights, over scaled inputs; its optimiser goes on."""
        columns = [
            dict(zip(names, column.tolist(), strict=True)) for column in coefficients.weight.T
        ]
        if self.lacks_intercept:
            for weights, bias in zip(columns, coefficients.bias.tolist(), strict=True):
                weights[CONSTANT] = bias
        self._write(columns, float(coefficients.bias[0]))

    def _weights(self) -> list[Any]:
        weights = self._model.weights
        return [weights[label] for label in range(self.logits)] if self._softmax else [weights]

    def _write(self, columns: list[dict[str, float]], intercept: float) -> None:
        if self._softmax:
            kept = self._weights()
        else:
            self._model.intercept = intercept
            kept = [getattr(self._model, "_weights", self._model.weights)]
        for weights, column in zip(kept, columns, strict=True):
            weights.clear()
            weights.update(column)

    def _rememberers(self) -> list[Any]:
        """Return the optimisers, and the model where it accumulates an L1 penalty."""
        if self._softmax:
            return [self._model.optimizers[label] for label in range(self.logits)]
        optimisers = [self._model.optimizer] if hasattr(self._model, "optimizer") else []
        return [self._model, *optimisers] if hasattr(self._model, "cum_l1") else optimisers


def as_linear(model: Any, classes: int) -> LinearModel | None:
    """Return a model's linear face; None where it has none.

    A linear model learns by an optimiser that steps from the weights it finds; FTRL-Proximal
    keeps a sum of its own. Before it may stand scalers over all of the past.
    """
    steps = list(model.steps.values()) if hasattr(model, "steps") else [model]
    final, before = steps[-1], steps[:-1]
    linear = river("linear_model")
    kinds = (linear.base.GLM, linear.PARegressor, linear.PAClassifier, linear.SoftmaxRegression)
    if not isinstance(final, kinds) or not all(is_scaler(step) for step in before):
        return None
    if isinstance(getattr(final, "optimizer", None), river("optim").FTRLProximal):
        return None
    return LinearModel(final, before, classes)
