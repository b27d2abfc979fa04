"""What an optimiser of river remembers beside the weights: counts and accumulators by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Memory = dict[str, int | float | dict[str, float]]
"""Numbers, and numbers by the name of an input, by attribute."""


def read_memory(owner: Any) -> Memory:
    """Read the public attributes that are numbers, or numbers by name.

    What has another form starts anew (the matrix of ``optim.Newton``).
    """
    found: Memory = {}
    for name, value in vars(owner).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            found[name] = value
        elif isinstance(value, Mapping) or hasattr(value, "to_dict"):
            found[name] = {key: float(number) for key, number in value.items()}
    return found


def write_memory(owner: Any, memory: Memory, empty: Callable[[], Any]) -> None:
    """Give an optimiser that has not stepped yet what another remembered.

    Parameters
    ----------
    owner
        The optimiser, made with the same arguments.
    memory
        As read.
    empty
        Makes the accumulator that the optimiser itself would make at its first step.
    """
    for name, value in memory.items():
        if not isinstance(value, dict):
            setattr(owner, name, value)
            continue
        kept = getattr(owner, name)
        if kept is None:
            kept = empty()
            setattr(owner, name, kept)
        kept.clear()
        kept.update(value)
