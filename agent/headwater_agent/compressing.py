"""What of an update crosses the wire: within the norm that is allowed, and compressed if asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from headwater.objects import Vector
from headwater.wire import Train
from headwater_agent.events import Floats
from headwater_models.compression import compress, decompress
from headwater_models.files import write_file
from headwater_models.manifest import Manifest

SUFFIX = ".lost"
"""Ending of the file that keeps what was lost; its name is the model's."""

_KEPT = 0.1
"""Share that top-k keeps where the task does not say."""


def prepare(
    task: Train, change: Vector, manifest: Manifest, lost: Floats | None
) -> tuple[Vector, Floats | None]:
    """Return what is sent for a change, and what is lost by it.

    What is lost belongs into the next change: so the fleet gets all of it in the end, if later
    (error feedback, Karimireddy et al., ICML 2019). Statistics are sent as they are.

    Parameters
    ----------
    task
        Names the bound and the compression.
    change
        Of the shared weights, float32 ``[n]``; or statistics, float64.
    manifest
        Of the model.
    lost
        What the last update lost, float32 ``[n]``.
    """
    method = None if task.compression is msgspec.UNSET else task.compression
    if method is None and task.norm_bound is msgspec.UNSET:
        return change, None if change.dtype == np.float32 else lost
    if change.dtype != np.float32 or not np.isfinite(change).all():
        return change, lost
    if method is not None and lost is not None:
        change = change + lost
    change = _within(change, task)
    if method is None:
        return change, None
    keep = _KEPT if task.keep is msgspec.UNSET else task.keep
    data = compress(change, manifest, method, keep)
    if data.nbytes >= change.nbytes:
        return change, None
    return data, change - decompress(data, manifest)


def read_lost(folder: Path, model: str, size: int) -> Floats | None:
    """Read what the last update of a model lost; None where there is nothing of that size."""
    try:
        data = _path(folder, model).read_bytes()
    except OSError:
        return None
    found = np.frombuffer(data, "<f4").astype(np.float32) if len(data) == 4 * size else None
    return found if found is not None and np.isfinite(found).all() else None


def write_lost(folder: Path, model: str, lost: Floats | None) -> None:
    """Keep what an update lost; the next one replaces it.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    if lost is not None:
        write_file(_path(folder, model), lost.astype("<f4").tobytes())
    else:
        _path(folder, model).unlink(missing_ok=True)


def _path(folder: Path, model: str) -> Path:
    return folder / f"{model}{SUFFIX}"


def _within(change: Floats, task: Train) -> Floats:
    """Return the change, shorter where it is longer than the task allows."""
    if task.norm_bound is msgspec.UNSET:
        return change
    norm = float(np.linalg.norm(change.astype(np.float64)))
    return change if norm <= task.norm_bound else change * np.float32(task.norm_bound / norm)
