from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from headwater_agent.rivers.dotted import make, river
from headwater_agent.rivers.memory import read_memory, write_memory
from headwater_agent.rivers.settings import RiverPart

SELF_MADE = {"Newton", "Averager"}
"""These keep a matrix, and another optimiser, which are not remembered."""


def optimisers() -> list[str]:
    optim = river("optim")
    classes = {n: c for n, c in vars(optim).items() if inspect.isclass(c)}
    kinds = {n for n, c in classes.items() if issubclass(c, optim.base.Optimizer)}
    return sorted(kinds - SELF_MADE - {"Optimizer"})


def optimiser(name: str) -> Any:
    return make(RiverPart(model=f"river.optim.{name}"), "learn.river")


@pytest.mark.parametrize("vector", [True, False])
@pytest.mark.parametrize("name", optimisers())
def test_an_optimiser_goes_on_in_step_from_what_it_remembered(name: str, vector: bool) -> None:
    empty = river("utils").VectorDict if vector else lambda: defaultdict(float)
    rng = np.random.default_rng(0)
    one, other = optimiser(name), optimiser(name)
    weights, again = empty(), empty()

    def step(stepping: Any, to: Any, gradient: dict[str, float]) -> None:
        made = empty()
        made.update(gradient)
        stepping.look_ahead(to)
        stepping.step(to, made)

    for count in range(10):
        if count == 5:
            again.update(dict(weights.items()))
            write_memory(other, read_memory(one), empty)
        gradient = {"a": float(rng.normal()), "b": float(rng.normal())}
        for key in gradient:
            weights[key] = weights.get(key, 0.0)
        step(one, weights, gradient)
        if count >= 5:
            step(other, again, gradient)
    assert dict(again.items()) == dict(weights.items())
    assert read_memory(other) == read_memory(one)


def test_what_is_private_or_a_switch_is_not_memory() -> None:
    assert read_memory(optimiser("AMSGrad")).keys().isdisjoint({"correct_bias", "lr"})
    assert not any(name.startswith("_") for name in read_memory(optimiser("Newton")))
