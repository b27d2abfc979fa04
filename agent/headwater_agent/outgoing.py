"""What may leave the device: answers that say what was asked and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.errors import PeerError
from headwater_agent.correspondence import StoredTask
from headwater_agent.verdict import Device
from headwater_models.arrays import packed_size


def check_outgoing(
    device: Device, task: StoredTask, reply: wire.Reply, array: NDArray[np.float32] | None
) -> None:
    """Refuse an answer that says anything but what was asked.

    Only the arrays of the manifest, packed and finite, and the listed figures of the wire types
    can pass; names and hashes must be those of the device and of the task.

    Raises
    ------
    PeerError
        Saying what does not fit.
    """
    asked = wire.decode_task(task.fields)
    size = packed_size(device.manifest) if isinstance(reply, wire.CARRIES_ARRAY) else None
    values = (getattr(reply, name) for name in reply.__struct_fields__)
    figures = [value for value in values if isinstance(value, float)]
    checks = {
        "it is of another device": reply.device != device.name,
        "it has an array where none belongs, or none where one does": (
            (array is None) != (size is None)
        ),
        f"its array is not float32 [{size}]": (
            array is not None and (array.dtype != np.float32 or array.shape != (size,))
        ),
        "its array holds a value that is not finite": (
            array is not None and not np.isfinite(array).all()
        ),
        "it holds a figure that is not finite": not np.isfinite(figures).all(),
        "it is not an answer to its task": not _answers(asked, reply),
    }
    for complaint, wrong in checks.items():
        if wrong:
            raise PeerError(f"{complaint}.")


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
