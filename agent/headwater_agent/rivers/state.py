"""A linear model's state as bytes: its numbers, and predictions by which to know it again."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from headwater_agent.rivers.dotted import version
from headwater_agent.rivers.kinds import Kind
from headwater_agent.rivers.linear import LinearModel, Numbers

LAYOUT = 1
"""Version of the state's fields."""

_PROOFS = 3


class OutdatedError(Exception):
    """A saved state that cannot be gone on from; the message says why."""


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """``proof`` holds what the model predicted for rows that follow from its inputs' names."""

    layout: int
    river: str
    settings: str
    examples: int
    numbers: Numbers
    proof: list[list[float]]


def save(linear: LinearModel, model: Any, kind: Kind, *, settings: str, examples: int) -> bytes:
    """Encode a model; *settings* is the fingerprint of what it was built from."""
    numbers = linear.numbers()
    saved = _Saved(
        layout=LAYOUT,
        river=version(),
        settings=settings,
        examples=examples,
        numbers=numbers,
        proof=_prove(model, kind, numbers),
    )
    return msgspec.msgpack.encode(saved)


def restore(linear: LinearModel, model: Any, kind: Kind, *, settings: str, state: bytes) -> int:
    """Give a fresh model a saved one's numbers; return how many examples those are of.

    Under another version of river too, as long as the model predicts with them what it predicted
    when they were saved.

    Raises
    ------
    OutdatedError
        When the state is of another layout or other settings, damaged, or means something else
        by now; the model must be made anew.
    """
    try:
        layout = msgspec.msgpack.decode(state, type=dict[str, Any]).get("layout")
        if layout != LAYOUT:
            raise OutdatedError(f"it has layout {layout} and this program writes {LAYOUT}")
        saved = msgspec.msgpack.decode(state, type=_Saved)
    except msgspec.DecodeError as error:
        raise OutdatedError("it is damaged") from error
    if saved.settings != settings:
        raise OutdatedError("the settings have changed")
    try:
        linear.restore(saved.numbers)
        proof = _prove(model, kind, saved.numbers)
    except Exception as error:
        raise OutdatedError(f"river {version()} cannot read it") from error
    if not np.allclose(proof, saved.proof, rtol=1e-9, atol=0, equal_nan=True):
        raise OutdatedError(
            f"river {version()} predicts otherwise with the numbers of river {saved.river}"
        )
    return saved.examples


def _prove(model: Any, kind: Kind, numbers: Numbers) -> list[list[float]]:
    names = sorted({name for weights in numbers.weights for name in weights})
    rows = np.random.default_rng(0).normal(size=(_PROOFS, len(names))).tolist()
    return [kind.predict(model, dict(zip(names, row, strict=True))) for row in rows]
