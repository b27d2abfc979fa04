"""The firewall: every reply is held against its question before anything else sees it.

Flower's aggregation takes a NaN, a shape that happens to broadcast and a weight of 1e12 without
a word, and ends the run over an unknown key. None of those gets that far: a reply passes all
rules of its kind or is refused with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

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

_ANSWERS: dict[type[wire.Task], tuple[type[wire.Reply], ...]] = {
    wire.CheckIn: (wire.CheckedIn,),
    wire.Train: (wire.Update, wire.Declined),
    wire.Evaluate: (wire.Evaluated, wire.Declined),
    wire.Release: (wire.Received, wire.Declined),
}


class Expected(msgspec.Struct, frozen=True):
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
    if not isinstance(reply, _ANSWERS[type(task)]):
        return (
            f"It answers {type(task).__name__} with {type(reply).__name__}; "
            f"allowed: {', '.join(kind.__name__ for kind in _ANSWERS[type(task)])}."
        )
    return next(_complaints(task, reply, vector, expected), None)


def malformation(reply: wire.Update, vector: Vector, manifest: Manifest) -> str | None:
    """Return why an update can never be merged, as a sentence, or None when it is sound in form."""
    return next(_malformations(reply, vector, manifest), None)


def _complaints(
    task: wire.Task, reply: wire.Reply, vector: Vector | None, expected: Expected
) -> Iterator[str]:
    yield from _identity(reply, expected)
    if (vector is not None) != isinstance(reply, wire.CARRIES_ARRAY):
        yield (
            "An array came with a reply that has none."
            if vector is not None
            else "The update came without its array."
        )
    match task, reply:
        case _, wire.CheckedIn():
            yield from _checked_in(reply, expected)
        case wire.Train(), wire.Update():
            yield from _update(task, reply, expected)
        case wire.Evaluate(), wire.Evaluated():
            yield from _evaluated(task, reply)
        case ((wire.Train() | wire.Evaluate() | wire.Release()), wire.Declined()):
            yield from _about(reply.task, task)
        case wire.Release(), wire.Received():
            yield from _about(reply.version, task)


def _about(named: str, task: wire.Train | wire.Evaluate | wire.Release) -> Iterator[str]:
    """Complain about an answer to something else; a release is answered by its version."""
    asked = task.version if isinstance(task, wire.Release) else task.task
    if named != asked:
        yield "It answers about another task or version than the one it was given."


def _checked_in(reply: wire.CheckedIn, expected: Expected) -> Iterator[str]:
    if reply.model != expected.model:
        yield f"It runs model {reply.model[:12]}; this fleet's is {expected.model[:12]}."
    yield from _finite(reply, "loss_baseline", "loss_released", "loss_personal")


def _identity(reply: wire.Reply, expected: Expected) -> Iterator[str]:
    if expected.device and reply.device != expected.device:
        yield f"Its key belongs to device {expected.device}, but it says it is {reply.device}."
    owner = expected.owner(reply.device)
    if owner is not None and owner != expected.node:
        yield f"The name {reply.device} belongs to the device with key {owner}."


def _update(task: wire.Train, reply: wire.Update, expected: Expected) -> Iterator[str]:
    if expected.forgotten:
        yield "What this device contributed was erased; it contributes no more."
    if reply.task != task.task:
        yield "It answers another task than the one it was given."
    if reply.model != expected.model:
        yield f"The update is of model {reply.model[:12]}; this fleet's is {expected.model[:12]}."
    if reply.base != task.base:
        yield f"The update starts at {reply.base[:12]}; {task.base[:12]} was asked for."
    if not expected.base_known:
        yield f"The update starts at {reply.base[:12]}, which is too old to be merged."
    if reply.sequence <= expected.taken:
        yield f"Update {reply.sequence} of this device was received before; replay is refused."


def _malformations(reply: wire.Update, vector: Vector, manifest: Manifest) -> Iterator[str]:
    if reply.examples < 1:
        yield "The update says that it learned from no example."
    yield from _finite(reply, "loss_before", "loss_after")
    yield from _vector(vector, manifest, reply.examples)


def _vector(vector: Vector, manifest: Manifest, examples: int) -> Iterator[str]:
    size, dtype = packed_size(manifest), "float32"
    if manifest.statistics:
        size, dtype = sum(array.size for array in manifest.statistics), "float64"
    fits = vector.dtype == dtype and vector.shape == (size,)
    if fits and not manifest.statistics and _largest(vector) <= LARGEST_CHANGE:
        return  # nor is any value then not finite, which costs as much again to ask
    if not fits:
        yield f"The array is {vector.dtype} {list(vector.shape)}; {dtype} [{size}] is expected."
    elif not np.isfinite(vector).all():
        yield (
            f"{int((~np.isfinite(vector)).sum())} of {size} values of the array are not finite "
            "(NaN or infinity)."
        )
    elif manifest.statistics:
        yield from complaints(manifest, unpack_statistics(manifest, vector), examples)
    else:
        yield (
            f"The update moves a weight by {_largest(vector):.3g}; "
            f"at most {LARGEST_CHANGE:g} is plausible."
        )


def _largest(vector: Vector) -> float:
    """Return the largest magnitude; not a number where a value is none."""
    return float(np.maximum.reduce(np.abs(vector), initial=0.0))


def _evaluated(task: wire.Evaluate, reply: wire.Evaluated) -> Iterator[str]:
    if (reply.task, reply.candidate, reply.release) != (task.task, task.candidate, task.release):
        yield "It judges other versions than the ones it was given."
    names = ("loss_candidate", "loss_release", "loss_baseline", "difference_mean", "difference_m2")
    yield from _finite(reply, *names)
    if reply.difference_m2 < 0:
        yield "Its squared deviations are below zero."
    difference = reply.loss_candidate - reply.loss_release
    scale = max(abs(reply.loss_candidate), abs(reply.loss_release), 1e-9)
    if abs(reply.difference_mean - difference) > _DIFFERENCE_RTOL * scale:
        yield (
            f"Its mean difference {reply.difference_mean:.6g} is not that of its losses "
            f"({difference:.6g})."
        )


def _finite(reply: wire.Reply, *names: str) -> Iterator[str]:
    for name in names:
        if not math.isfinite(getattr(reply, name)):
            yield f"Its {name} is not finite."
