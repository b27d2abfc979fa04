"""One step of an optimiser as a graph. State arrays start at zero."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headwater_models.graphs.expression import Graph, Shape, Value
from headwater_models.manifest import Optimiser

Values = dict[str, Value]
Shapes = dict[str, Shape]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an optimiser steps.

    ``state`` maps the shapes of the parameters to those of the state arrays. ``step`` takes the
    graph (which holds parameters and state as inputs), the gradients by parameter, the learning
    rate and the settings, and returns the new value of each parameter and each state array.
    """

    state: Callable[[Mapping[str, Shape]], Shapes]
    step: Callable[[Graph, Mapping[str, Value], Value, Optimiser], Values]


def optimisers() -> dict[str, Rule]:
    """Return each optimiser by the name it has in the manifest."""
    return {
        "sgd": Rule(lambda _: {}, _sgd),
        "momentum": Rule(lambda shapes: {_velocity(n): s for n, s in shapes.items()}, _momentum),
        "adam": Rule(_adam_state, _adam),
        "adamw": Rule(_adam_state, _adamw),
    }


def clipped(gradients: Mapping[str, Value], limit: float) -> Values:
    """Scale gradients whose joint norm is above *limit* down to it (Pascanu et al. 2013)."""
    if not limit or not gradients:
        return dict(gradients)
    squares = [(g * g).sum(range(len(g.shape))) for g in gradients.values()]
    graph = squares[0].graph
    norm = graph.op("Sqrt", functools.reduce(operator.add, squares))
    share = limit / graph.op("Max", norm, limit)
    return {name: g * share for name, g in gradients.items()}


def _decayed(graph: Graph, gradients: Mapping[str, Value], settings: Optimiser) -> Values:
    """Add the gradient of half the weights' squares, times the decay."""
    decay = settings.weight_decay
    return {n: g + decay * graph.value(n) if decay else g for n, g in gradients.items()}


def _sgd(graph: Graph, gradients: Mapping[str, Value], rate: Value, settings: Optimiser) -> Values:
    decayed = _decayed(graph, gradients, settings)
    return {name: graph.value(name) - rate * g for name, g in decayed.items()}


def _velocity(name: str) -> str:
    return f"momentum.{name}"


def _momentum(
    graph: Graph, gradients: Mapping[str, Value], rate: Value, settings: Optimiser
) -> Values:
    """Polyak (1964), as Sutskever et al. (2013) write it: the velocity holds the learning rate."""
    new = {}
    for name, g in _decayed(graph, gradients, settings).items():
        velocity = settings.momentum * graph.value(_velocity(name)) - rate * g
        new[_velocity(name)] = velocity
        new[name] = graph.value(name) + velocity
    return new


STEP = "adam.step"
DECAY_1, DECAY_2, EPSILON = 0.9, 0.999, 1e-8


def _first(name: str) -> str:
    return f"adam.m.{name}"


def _second(name: str) -> str:
    return f"adam.v.{name}"


def _adam_state(parameters: Mapping[str, Shape]) -> Shapes:
    moments = {key(name): s for name, s in parameters.items() for key in (_first, _second)}
    return {STEP: (1,), **moments} if parameters else {}


def _adam(graph: Graph, gradients: Mapping[str, Value], rate: Value, settings: Optimiser) -> Values:
    """Kingma and Ba (2015)."""
    return _adam_step(graph, _decayed(graph, gradients, settings), rate)


def _adamw(
    graph: Graph, gradients: Mapping[str, Value], rate: Value, settings: Optimiser
) -> Values:
    """Loshchilov and Hutter (2019); as is usual, the decay too goes with the learning rate."""
    new = _adam_step(graph, gradients, rate)
    if settings.weight_decay:
        off = rate * settings.weight_decay
        new |= {name: new[name] - off * graph.value(name) for name in gradients}
    return new


def _adam_step(graph: Graph, gradients: Mapping[str, Value], rate: Value) -> Values:
    """Algorithm 1 of Kingma and Ba with the order of its section 2 (scalars joined)."""
    if not gradients:
        return {}
    step = graph.value(STEP) + 1.0
    count = graph.op("Squeeze", step)
    spread = graph.op("Sqrt", 1.0 - graph.op("Pow", DECAY_2, count))
    pace = rate * spread / (1.0 - graph.op("Pow", DECAY_1, count))
    new = {STEP: step}
    for name, g in gradients.items():
        m, v = graph.value(_first(name)), graph.value(_second(name))
        new[_first(name)] = first = m + (1.0 - DECAY_1) * (g - m)
        new[_second(name)] = second = v + (1.0 - DECAY_2) * (g * g - v)
        root = graph.op("Sqrt", second) + EPSILON * spread
        new[name] = graph.value(name) - pace * (first / root)
    return new
