"""Models with equal graphs, run together: in one call where their bundle has the graph for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from headwater.errors import BundleError
from headwater_models.bundle import Bundle
from headwater_models.session import Binding, Floats, OpenGraph, Predictor, Times

logger = logging.getLogger(__name__)

Parameters = Mapping[str, Floats]


class Together(Protocol):
    """Members, numbered from 0, that predict together; by one thread at a time."""

    def __call__(self, window: Floats, time: Times) -> Floats:
        """Return the predictions ``[M, N, K]`` of all members on a window ``[N, T, C]``."""
        ...

    def put(self, member: int, parameters: Parameters) -> None:
        """Give a member other parameters, which are copied; the others keep theirs."""
        ...


def together(bundle: Bundle, members: Sequence[Parameters], threads: int = 1) -> Together:
    """Return members that run in one call, or one by one where the bundle has no graph for that.

    Parameters
    ----------
    bundle
        Of the graphs that all members have; its weights are not used.
    members
        The parameters of each, at least one.
    threads
        Within one operator.

    Raises
    ------
    BundleError
        When a graph cannot be opened, or parameters are not those of the graph.
    """
    if bundle.stacked is not None:
        return StackedPredictor(bundle.stacked, members, threads)
    logger.warning(
        "%s has no infer.stacked.onnx, so its %d members run one by one; build the bundle again.",
        bundle.manifest.name,
        len(members),
    )
    return LoopedPredictor(bundle.infer, members, threads)


class StackedPredictor:
    """Members that run in one call, their parameters stacked and bound once.

    Parameters
    ----------
    graph
        A stacked inference graph (see :func:`headwater_models.graphs.stack.stack`) in which all
        parameters are the members' own. Members share a window, or have one each and a time each,
        ``[M, N, T, C]`` and ``[M, N]``.
    members
        The parameters of each, at least one.
    threads
        Within one operator.

    Raises
    ------
    BundleError
        When the graph cannot be opened, or parameters are not those of the graph.
    """

    def __init__(self, graph: bytes, members: Sequence[Parameters], threads: int = 1) -> None:
        windows = ("[N, T, C]", "[M, N, T, C]")
        self._graph = OpenGraph("infer.stacked.onnx", graph, threads, windows)
        if "prediction" not in self._graph.outputs:
            raise BundleError("infer.stacked.onnx has no output `prediction`; build it again.")
        stacks = {name: np.stack([array] * len(members)) for name, array in members[0].items()}
        self._binding = Binding(self._graph, stacks, len(members))
        for number, parameters in enumerate(members):
            self.put(number, parameters)

    def __call__(self, window: Floats, time: Times) -> Floats:
        """Return the predictions ``[M, N, K]``."""
        return self._binding(window, time)

    def put(self, member: int, parameters: Parameters) -> None:
        """Give a member other parameters: one row of each stack is written over.

        Raises
        ------
        BundleError
            When shapes or names are not those of the graph; the member then keeps what it had.
        """
        stacks = self._binding.parameters
        self._graph.refuse_other_names(parameters.keys(), stacks.keys())
        for name, array in parameters.items():
            if array.shape != stacks[name].shape[1:]:
                raise BundleError(
                    f"Member {member}: `{name}` is {list(stacks[name].shape[1:])}, "
                    f"not {list(array.shape)}."
                )
        for name, array in parameters.items():
            stacks[name][member] = array


class LoopedPredictor:
    """Members that run one by one; parameters and errors as of :class:`StackedPredictor`.

    Parameters
    ----------
    graph
        The bytes of ``infer.onnx``.
    """

    def __init__(self, graph: bytes, members: Sequence[Parameters], threads: int = 1) -> None:
        self._predictor = Predictor(graph, threads)
        self._members = [self._predictor.bind(parameters) for parameters in members]

    def __call__(self, window: Floats, time: Times) -> Floats:
        """Return the predictions ``[M, N, K]``."""
        return np.stack([member(window, time) for member in self._members])

    def put(self, member: int, parameters: Parameters) -> None:
        """Give a member other parameters."""
        self._members[member] = self._predictor.bind(parameters)
