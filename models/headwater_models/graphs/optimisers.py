"""One step of an optimiser as a graph. State arrays start at zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headwater_models.graphs.expression import Graph, Shape, Value

Values = dict[str, Value]
Shapes = dict[str, Shape]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an optimiser steps.

    ``state`` maps the shapes of the parameters to those of the state arrays. ``step`` takes the
    graph (which holds parameters and state as inputs), the gradients by parameter and the
    learning rate, and returns the new value of each parameter and each state array.
    """

    state: Callable[[Mapping[str, Shape]], Shapes]
    step: Callable[[Graph, Mapping[str, Value], Value], Values]


def optimisers() -> dict[str, Rule]:
    """Return each optimiser by the name it has in the manifest."""
    return {"sgd": Rule(lambda _: {}, _sgd), "adam": Rule(_adam_state, _adam)}


def _sgd(graph: Graph, gradients: Mapping[str, Value], rate: Value) -> Values:
    return {name: graph.value(name) - rate * g for name, g in gradients.items()}


STEP = "adam.step"
DECAY_1, DECAY_2, EPSILON = 0.9, 0.999, 1e-8


def _first(name: str) -> str:
    return f"adam.m.{name}"


def _second(name: str) -> str:
    return f"adam.v.{name}"


def _adam_state(parameters: Mapping[str, Shape]) -> Shapes:
    moments = {key(name): s for name, s in parameters.items() for key in (_first, _second)}
    return {STEP: (1,), **moments}


def _adam(graph: Graph, gradients: Mapping[str, Value], rate: Value) -> Values:
    """Kingma and Ba (2015), algorithm 1 with the order of its section 2 (scalars joined)."""
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
