"""The firewall: every reply is held against its question before anything else sees it.

Flower's aggregation takes a NaN, a shape that happens to broadcast and a weight of 1e12 without
a word, and ends the run over an unknown key. None of those gets that far: a reply passes all
rules of its kind or is refused with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from headwater import wire
from headwater.objects import Vector
from headwater_models.arrays import packed_size, unpack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import complaints

LARGEST_CHANGE = 1e6
"""No weight of a model with scaled inputs moves this far in one round; a larger change is refused
(and so can never overflow float32 when it is merged)."""

_DIFFERENCE_RTOL = 1e-3
_FLOAT: np.dtype[Any] = np.dtype(np.float32)
_DOUBLE: np.dtype[Any] = np.dtype(np.float64)


class Expected(msgspec.Struct, frozen=True, gc=False):
    """What the coordinator knows about whoever answers.

    ``device`` is the name bound to the key that signed the reply, empty before the first
    check-in; ``owner`` returns the key to which a name belongs. ``taken`` is the highest
    sequence accepted from it; ``base_known`` says whether an update's base may still be merged;
    ``forgotten`` that its contribution was erased.
    """

    node: str
    device: str
    taken: int
    model: str
    manifest: Manifest
    owner: Callable[[str], str | None]
    base_known: bool = True
    forgotten: bool = False


def complaint(
    task: wire.Task, reply: wire.Reply, vector: Vector | None, expected: Expected
) -> str | None:
    """Return why a reply must be refused, as a sentence, or None when it may pass.

    Whether an update is sound in form is for :func:`malformation` to say.
    """
    rules = _RULES[type(task)]
    rule = rules.get(type(reply))
    if rule is None:
        return (
            f"It answers {type(task).__name__} with {type(reply).__name__}; "
            f"allowed: {', '.join(kind.__name__ for kind in rules)}."
        )
    return _identity(reply, expected) or _carried(reply, vector) or rule(task, reply, expected)


def malformation(
    reply: wire.Update,
    vector: Vector,
    manifest: Manifest,
    length: Callable[[Vector], float] | None = None,
) -> str | None:
    """Return why an update can never be merged, as a sentence, or None when it is sound in form.

    ``length`` is :func:`norm`, or returns the same.
    """
    if reply.examples < 1:
        return "The update says that it learned from no example."
    if not (math.isfinite(reply.loss_before) and math.isfinite(reply.loss_after)):
        return _not_finite(loss_before=reply.loss_before, loss_after=reply.loss_after)
    return _vector(vector, manifest, reply.examples, length or norm)


def _identity(reply: wire.Reply, expected: Expected) -> str | None:
    if expected.device and reply.device != expected.device:
        return f"Its key belongs to device {expected.device}, but it says it is {reply.device}."
    owner = expected.owner(reply.device)
    if owner is not None and owner != expected.node:
        return f"The name {reply.device} belongs to the device with key {owner}."
    return None


def _carried(reply: wire.Reply, vector: Vector | None) -> str | None:
    if (vector is not None) == (type(reply) in wire.CARRIES_ARRAY):
        return None
    if vector is None:
        return "The update came without its array."
    return "An array came with a reply that has none."


def _checked_in(_: wire.CheckIn, reply: wire.CheckedIn, expected: Expected) -> str | None:
    if reply.model != expected.model:
        return f"It runs model {reply.model[:12]}; this fleet's is {expected.model[:12]}."
    return _not_finite(
        loss_baseline=reply.loss_baseline,
        loss_released=reply.loss_released,
        loss_personal=reply.loss_personal,
    )


def _update(task: wire.Train, reply: wire.Update, expected: Expected) -> str | None:
    if expected.forgotten:
        return "What this device contributed was erased; it contributes no more."
    return _misplaced(task, reply, expected) or _outdated(reply, expected)


def _misplaced(task: wire.Train, reply: wire.Update, expected: Expected) -> str | None:
    if reply.task != task.task:
        return "It answers another task than the one it was given."
    if reply.model != expected.model:
        return f"The update is of model {reply.model[:12]}; this fleet's is {expected.model[:12]}."
    if reply.base != task.base:
        return f"The update starts at {reply.base[:12]}; {task.base[:12]} was asked for."
    return None


def _outdated(reply: wire.Update, expected: Expected) -> str | None:
    if not expected.base_known:
        return f"The update starts at {reply.base[:12]}, which is too old to be merged."
    if reply.sequence <= expected.taken:
        return f"Update {reply.sequence} of this device was received before; replay is refused."
    return None


def _evaluated(task: wire.Evaluate, reply: wire.Evaluated, _: Expected) -> str | None:
    if (reply.task, reply.candidate, reply.release) != (task.task, task.candidate, task.release):
        return "It judges other versions than the ones it was given."
    losses = {
        "loss_candidate": reply.loss_candidate,
        "loss_release": reply.loss_release,
        "loss_baseline": reply.loss_baseline,
        "difference_mean": reply.difference_mean,
        "difference_m2": reply.difference_m2,
    }
    wrong = _not_finite(**losses)
    if wrong is not None:
        return wrong
    if reply.difference_m2 < 0:
        return "Its squared deviations are below zero."
    difference = reply.loss_candidate - reply.loss_release
    scale = max(abs(reply.loss_candidate), abs(reply.loss_release), 1e-9)
    if abs(reply.difference_mean - difference) > _DIFFERENCE_RTOL * scale:
        return (
            f"Its mean difference {reply.difference_mean:.6g} is not that of its losses "
            f"({difference:.6g})."
        )
    return None


def _received(task: wire.Release, reply: wire.Received, _: Expected) -> str | None:
    return None if reply.version == task.version else _ELSEWHERE


def _declined(
    task: wire.Train | wire.Evaluate | wire.Release, reply: wire.Declined, _: Expected
) -> str | None:
    """Complain about an answer to something else; a release is answered by its version."""
    asked = task.version if isinstance(task, wire.Release) else task.task
    return None if reply.task == asked else _ELSEWHERE


_ELSEWHERE = "It answers about another task or version than the one it was given."

_RULES: dict[type[wire.Task], dict[type[wire.Reply], Callable[..., str | None]]] = {
    wire.CheckIn: {wire.CheckedIn: _checked_in},
    wire.Train: {wire.Update: _update, wire.Declined: _declined},
    wire.Evaluate: {wire.Evaluated: _evaluated, wire.Declined: _declined},
    wire.Release: {wire.Received: _received, wire.Declined: _declined},
}
"""What may answer a task, and what must hold of it; None where it does."""


def _vector(
    vector: Vector, manifest: Manifest, examples: int, length: Callable[[Vector], float]
) -> str | None:
    size, dtype = packed_size(manifest), _FLOAT
    if manifest.statistics:
        size, dtype = sum(array.size for array in manifest.statistics), _DOUBLE
    if vector.dtype != dtype or vector.shape != (size,):
        return f"The array is {vector.dtype} {list(vector.shape)}; {dtype} [{size}] is expected."
    if not manifest.statistics and length(vector) <= LARGEST_CHANGE:
        return None  # no value is larger than that, nor is any not finite
    if not np.isfinite(vector).all():
        return (
            f"{int((~np.isfinite(vector)).sum())} of {size} values of the array are not finite "
            "(NaN or infinity)."
        )
    if manifest.statistics:
        return next(complaints(manifest, unpack_statistics(manifest, vector), examples), None)
    largest = float(np.abs(vector).max())
    if largest <= LARGEST_CHANGE:
        return None
    return f"The update moves a weight by {largest:.3g}; at most {LARGEST_CHANGE:g} is plausible."


def norm(vector: Vector) -> float:
    """Return the Euclidean norm of an update, summed in float64."""
    exact = vector.astype(np.float64)
    return math.sqrt(exact.dot(exact))


def _not_finite(**values: float) -> str | None:
    for name, value in values.items():
        if not math.isfinite(value):
            return f"Its {name} is not finite."
    return None
