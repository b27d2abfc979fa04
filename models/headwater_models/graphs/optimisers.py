"""One step of an optimiser as a graph. State starts at zero.

All that is trained is one long row here: one operator then does for all arrays what otherwise
each would need an operator of its own for, and small arrays would cost as much as large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.tensor_types import Shape
from headwater_models.manifest import Optimiser

Values = dict[str, Value]
Shapes = dict[str, Shape]

WEIGHTS = "weights"
"""The key of the new weights among what a step returns."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How an optimiser steps.

    ``state`` takes the number of weights and returns the shapes of the state arrays by name.
    ``step`` takes the weights ``[1, P]`` and their gradient, of a graph that holds the state as
    inputs, the learning rate and the settings, and returns the new weights and the new state.
    """

    state: Callable[[int], Shapes]
    step: Callable[[Value, Value, Value, Optimiser], Values]


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


def _sgd(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Values:
    return {WEIGHTS: weights - rate * _decayed(weights, gradient, settings)}


VELOCITY = "momentum.velocity"


def _momentum(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Values:
    """Polyak (1964), as Sutskever et al. (2013) write it: the velocity holds the learning rate."""
    before = weights.graph.value(VELOCITY)
    velocity = settings.momentum * before - rate * _decayed(weights, gradient, settings)
    return {WEIGHTS: weights + velocity, VELOCITY: velocity}


STEP, FIRST, SECOND = "adam.step", "adam.m", "adam.v"
DECAY_1, DECAY_2, EPSILON = 0.9, 0.999, 1e-8


def _adam_state(size: int) -> Shapes:
    return {STEP: (1,), FIRST: (1, size), SECOND: (1, size)}


def _adam(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Values:
    """Kingma and Ba (2015)."""
    return _adam_step(weights, _decayed(weights, gradient, settings), rate)


def _adamw(weights: Value, gradient: Value, rate: Value, settings: Optimiser) -> Values:
    """Loshchilov and Hutter (2019); as is usual, the decay too goes with the learning rate."""
    kept = weights * (1.0 - rate * settings.weight_decay) if settings.weight_decay else weights
    return _adam_step(kept, gradient, rate)


def _adam_step(weights: Value, g: Value, rate: Value) -> Values:
    """Algorithm 1 of Kingma and Ba with the order of its section 2 (scalars joined)."""
    graph: Graph = g.graph
    step = graph.value(STEP) + 1.0
    spread = graph.op("Sqrt", 1.0 - graph.op("Pow", DECAY_2, step))
    pace = rate * spread / (1.0 - graph.op("Pow", DECAY_1, step))
    m, v = graph.value(FIRST), graph.value(SECOND)
    first = m + (1.0 - DECAY_1) * (g - m)
    second = v + (1.0 - DECAY_2) * (g * g - v)
    root = graph.op("Sqrt", second) + EPSILON * spread
    return {WEIGHTS: weights - pace * (first / root), STEP: step, FIRST: first, SECOND: second}
