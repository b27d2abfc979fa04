"""What may leave the device: answers that say what was asked and nothing else."""

from __future__ import annotations

import msgspec
import numpy as np

from headwater import wire
from headwater.errors import PeerError
from headwater.objects import Vector
from headwater_agent.correspondence import StoredTask
from headwater_agent.verdict import Device
from headwater_models.arrays import unpack, unpack_statistics
from headwater_models.compression import check_compressed
from headwater_models.manifest import Manifest
from headwater_models.statistics import says_too_much


def check_outgoing(
    device: Device, task: StoredTask, reply: wire.Reply, array: Vector | None
) -> None:
    """Refuse an answer that says anything but what was asked.

    Only the arrays or the statistics of the manifest, packed and finite, and the listed figures
    of the wire types can pass; names and hashes must be those of the device and of the task.
    Statistics of too few examples stay here.

    Raises
    ------
    PeerError
        Saying what does not fit.
    """
    asked = wire.decode_task(task.fields)
    values = (getattr(reply, name) for name in reply.__struct_fields__)
    figures = [value for value in values if isinstance(value, float)]
    expects = isinstance(reply, wire.CARRIES_ARRAY)
    checks = {
        "it is of another device": reply.device != device.name,
        "it has an array where none belongs, or none where one does": (array is None) == expects,
        "it holds a figure that is not finite": not np.isfinite(figures).all(),
        "it is not an answer to its task": not _answers(asked, reply),
    }
    for complaint, wrong in checks.items():
        if wrong:
            raise PeerError(f"{complaint}.")
    if array is not None:
        _check_vector(device.manifest, asked, array)


def _check_vector(manifest: Manifest, asked: wire.Task, array: Vector) -> None:
    if array.dtype == np.uint8 and isinstance(asked, wire.Train) and not manifest.statistics:
        if asked.compression is msgspec.UNSET:
            raise PeerError("It is compressed, and that was not asked for.")
        check_compressed(array, manifest, asked.compression)
        return
    if not manifest.statistics:
        unpack(manifest, array)
        return
    few = says_too_much(manifest, unpack_statistics(manifest, array))
    if few is not None:
        raise PeerError(few)


def _answers(asked: wire.Task, reply: wire.Reply) -> bool:
    match asked, reply:
        case wire.Train(), wire.Update():
            return (reply.task, reply.model, reply.base) == (asked.task, asked.model, asked.base)
        case wire.Evaluate(), wire.Evaluated():
            return (reply.task, reply.candidate, reply.release) == (
                asked.task,
                asked.candidate,
                asked.release,
            )
        case ((wire.Train() | wire.Evaluate()), wire.Declined()):
            return reply.task == asked.task
        case _:
            return False
