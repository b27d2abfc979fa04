"""A linear river model as the last layer of a bundle: its weights are the bundle's arrays."""

from __future__ import annotations

import numpy as np

from headwater_agent.rivers.head import WEIGHT, Coefficients, Head
from headwater_agent.rivers.inputs import feature_names
from headwater_agent.rivers.linear import LinearModel
from headwater_models.arrays import Arrays


class LastLayer:
    """The arrays of a bundle, with a linear model's weights as head.

    Parameters
    ----------
    head
        What the bundle's last layer does.
    linear
        The model, over the bundle's features.
    arrays
        A release's, which give the rest.

    Attributes
    ----------
    arrays
        All arrays, as of the last call.
    """

    def __init__(self, head: Head, linear: LinearModel, arrays: Arrays) -> None:
        self._head = head
        self._linear = linear
        self._names = feature_names(len(arrays[WEIGHT]))
        self.arrays = arrays
        self.update()

    def update(self) -> bool:
        """Take the model's weights over; return False, and leave them, if one is not finite."""
        with np.errstate(invalid="ignore", over="ignore"):  # a model that diverged shows it here
            made = self._head.write(self._linear.coefficients(self._names), self.arrays)
        finite = all(bool(np.isfinite(array).all()) for array in made.values())
        if finite:
            self.arrays = made
        return finite

    def follow(self, arrays: Arrays) -> None:
        """Give the model the weights that stand in these arrays."""
        self.arrays = arrays
        self._linear.set(self._names, self._head.read(arrays, self._linear.logits))

    def move(self, arrays: Arrays) -> None:
        """Keep the model's weights, over the backbone in these arrays."""
        self.arrays = arrays
        self.update()

    def shake(self, rng: np.random.Generator) -> None:
        """Give the model weights by chance, for a trial."""
        shape = (len(self._names), self._linear.logits)
        chance = Coefficients(rng.normal(0, 0.1, shape), rng.normal(0, 0.1, shape[1]))
        self._linear.set(self._names, chance)
        self.update()
