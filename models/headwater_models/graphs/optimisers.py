"""One step of an optimiser as a graph. State starts at zero.

All that is trained is one long row here: one operator then does for all arrays what otherwise
each would need an operator of its own for, and small arrays would cost as much as large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.tensor_types import Shape
from headwater_models.manifest import Optimiser

Values = dict[str, Value]
Shapes = dict[str, Shape]
Step = tuple[Value, Values]
"""What is added to the weights, and the new state."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How an optimiser steps.

    ``state`` takes the number of weights and returns the shapes of the state arrays by name.
    ``step`` takes the weights ``[P]`` and their gradient, of a graph that holds the state as
    inputs, the learning rate and the settings. It leaves the sum to its caller: what is not decayed
    never has to be laid out in one row.
    """

    state: Callable[[int], Shapes]
    step: Callable[[Value, Value, Value, Optimiser], Step]


def optimisers() -> dict[str, Rule]:
    """Return each optimiser by the name it has in the manifest."""
    return {
        "sgd": Rule(lambda _: {}, _sgd),
        "momentum": Rule(lambda size: {VELOCITY: (1, size)}, _momentum),
        "adam": Rule(_adam_state, _adam),
        "adamw": Rule(_adam_state, _adamw),
    }


def clipped(gradient: Value, limit: float) -> Value:
    """Scale a gradient whose norm is above *limit* down to it; 0 is none (Pascanu et al. 2013)."""
    if not limit:
        return gradient
    norm = gradient.graph.op("ReduceL2", gradient)
    return gradient * (limit / gradient.graph.op("Max", norm, limit))


def _decayed(weights: Value, gradient: Value, settings: Optimiser) -> Value:
    """Add the gradient of half the weights' squares, times the decay."""
    decay = settings.weight_decay
    return gradient + decay * weights if decay else gradient


def _sgd(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Step:
    return -rate * _decayed(weights, gradient, settings), {}


VELOCITY = "momentum.velocity"


def _momentum(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Step:
    """Polyak (1964), as Sutskever et al. (2013) write it: the velocity holds the learning rate."""
    before = weights.graph.value(VELOCITY)
    velocity = settings.momentum * before - rate * _decayed(weights, gradient, settings)
    return velocity, {VELOCITY: velocity}


STEP, FIRST, SECOND = "adam.step", "adam.m", "adam.v"
DECAY_1, DECAY_2, EPSILON = 0.9, 0.999, 1e-8


def _adam_state(size: int) -> Shapes:
    return {STEP: (1,), FIRST: (1, size), SECOND: (1, size)}


def _adam(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Step:
    """Kingma and Ba (2015)."""
    return _adam_step(_decayed(weights, gradient, settings), rate)


def _adamw(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Step:
    """Loshchilov and Hutter (2019); as is usual, the decay too goes with the learning rate."""
    change, state = _adam_step(gradient, rate)
    decay = settings.weight_decay
    return change - rate * decay * weights if decay else change, state


def _adam_step(g: Value, rate: Value) -> Step:
    """Algorithm 1 of Kingma and Ba with the order of its section 2.

    The moments are kept without their factors ``1 - decay``, which the rate and epsilon take
    over: all that is one number for all weights costs nothing.
    """
    graph: Graph = g.graph
    step = graph.value(STEP) + 1.0
    first = DECAY_1 * graph.value(FIRST) + g
    second = DECAY_2 * graph.value(SECOND) + g * g
    decays = np.array([DECAY_1, DECAY_2], graph.dtype)
    shares = np.array([DECAY_1 - 1.0, 1.0 - DECAY_2], graph.dtype)
    unbiased = graph.op("Div", shares, 1.0 - graph.op("Pow", decays, step))
    share_1, share_2 = graph.apply("Split", (unbiased, np.array([1, 1])), {"axis": 0}, count=2)
    spread = graph.op("Sqrt", share_2)
    pace = rate * share_1 / spread
    ratio = first / (graph.op("Sqrt", second) + EPSILON / spread)
    return pace * ratio, {STEP: step, FIRST: first, SECOND: second}
