"""Training steps that follow one another: their arrays stay where the graph finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.arrays import Arrays, State
from headwater_models.session import Batch, Floats, Trainer, bind

Buffers = dict[str, NDArray[Any]]

_ROWS = ("window", "time", "label", "weight")


class Stepper(Trainer):
    """A training graph whose steps take over from one another, by one thread at a time.

    Parameters and errors as of :class:`.session.Trainer`.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        super().__init__(graph, threads)
        self._rows = [name for name in _ROWS if name in self._graph.inputs]
        self._size = -1
        self._before: Buffers = {}
        self._after: Buffers = {}
        self._bindings: list[Any] = []

    def steps(
        self,
        batch: Batch,
        parameters: Mapping[str, Floats],
        state: Mapping[str, NDArray[Any]],
        learning_rates: Sequence[float],
    ) -> tuple[Arrays, State, Floats]:
        """Take steps one after the other, as so many calls of :meth:`step` would.

        Parameters
        ----------
        batch
            The rows of all steps, equally many of each.
        state
            As of :meth:`step`.
        learning_rates
            Of each step.

        Returns
        -------
        tuple
            New parameters, new state, and the loss of each row before its step.

        Raises
        ------
        BundleError
            When shapes or names are not those of the graph.
        """
        count, graph, given = len(learning_rates), self._graph, {**parameters, **state}
        if count == 1:
            return self.step(batch, parameters, state, learning_rates[0])
        names = {*_ROWS, "learning_rate", *given} - graph.left_aside
        graph.refuse_other_names(names, graph.inputs.keys())
        size = len(batch.weight) // count
        if size != self._size:
            self._lay_out(size)
        for name, array in given.items():
            self._refuse_other_shape(name, array.shape, self._before[name].shape)
            self._before[name][...] = array
        taken = [self._before[name] for name in self._rows]
        parts = [self._parts(name, getattr(batch, name), count) for name in self._rows]
        rate, loss = self._before.get("learning_rate"), self._after["loss"]
        losses = np.empty((count, size), loss.dtype)
        with graph.errors("cannot run on these arrays"):
            for number, rows in enumerate(zip(*parts, strict=True)):
                for buffer, part in zip(taken, rows, strict=True):
                    buffer[...] = part
                if rate is not None:
                    rate[...] = learning_rates[number]
                graph.session.run_with_iobinding(self._bindings[number % 2])
                losses[number] = loss
        made = self._after if count % 2 else self._before
        return (
            {name: made[name].copy() for name in parameters},
            {name: made[name].copy() for name in state},
            losses.ravel(),
        )

    def _parts(self, name: str, array: NDArray[Any], count: int) -> NDArray[Any]:
        """Return the rows of each of so many steps."""
        size, *rest = self._before[name].shape
        self._refuse_other_shape(name, array.shape, (count * size, *rest))
        return array.reshape(count, size, *rest)

    def _refuse_other_shape(self, name: str, have: Sequence[int], want: Sequence[int]) -> None:
        if have != want:
            raise BundleError(f"{self._graph.name}: input `{name}` is {[*want]}, not {[*have]}.")

    def _lay_out(self, size: int) -> None:
        """Bind buffers for batches of so many rows: what a step makes is what the next one takes.

        Steps go forth and back between two of each array; what none makes is there once.
        """
        graph = self._graph
        self._before = {
            name: np.empty([n if isinstance(n, int) else size for n in shape], dtype)
            for name, (dtype, shape) in graph.inputs.items()
        }
        made = {name.removeprefix("new."): name for name in self._outputs}
        self._after = self._before | {
            name: np.empty(size, graph.outputs[name][0])
            if name == "loss"
            else np.empty_like(self._before[name])
            for name in made
        }
        loss = {"loss": self._after["loss"]}
        self._bindings = [
            self._bound(self._before, self._after, made),
            self._bound(self._after, self._before | loss, made),
        ]
        self._size = size

    def _bound(self, before: Buffers, after: Buffers, made: Mapping[str, str]) -> Any:
        binding = self._graph.session.io_binding()
        with self._graph.errors("cannot be bound"):
            for name in self._graph.inputs:
                bind(binding.bind_input, name, before[name])
            for name, output in made.items():
                bind(binding.bind_output, output, after[name])
        return binding
