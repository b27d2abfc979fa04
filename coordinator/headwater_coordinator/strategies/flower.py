"""Flower's own server optimisers, run on the one mean of a merge; the seam to its strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from headwater_coordinator.strategies.updates import Floats

Optimiser = Literal["FedAdagrad", "FedAdam", "FedAvgM", "FedYogi"]

_ARRAYS = "arrays"
_MOMENTS = ("m_t", "v_t")


def server_step(
    optimiser: Optimiser,
    arguments: Mapping[str, float],
    *,
    shared: Floats,
    mean: Floats,
    remembered: Mapping[str, Floats],
    number: int,
) -> tuple[Floats, dict[str, Floats]]:
    """Let Flower's class take one step.

    Parameters
    ----------
    optimiser
        Name of the class.
    arguments
        Its own.
    shared, mean
        The release, and the mean of what devices have, float32 ``[n]``.
    remembered
        What an earlier step gave back; empty at first.
    number
        Of this step, from 1.

    Returns
    -------
    tuple
        The new weights, float32 ``[n]`` (Flower's FedAdam makes float64 of them), and what is to
        be remembered.
    """
    # Flower's app and strategies take a second to import; commands that only read settings do not.
    from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict  # noqa: PLC0415
    from flwr.app.message import make_message  # noqa: PLC0415
    from flwr.app.metadata import Metadata  # noqa: PLC0415
    from flwr.serverapp import strategy  # noqa: PLC0415

    theirs = getattr(strategy, optimiser)(**arguments)
    if optimiser == "FedAvgM":
        theirs.current_arrays = ArrayRecord({_ARRAYS: Array(shared)})
        if remembered:
            theirs.momentum_vector = [remembered["momentum"]]
    else:
        theirs.current_arrays = {_ARRAYS: shared}
        for name, array in remembered.items():
            setattr(theirs, name, {_ARRAYS: array})
    content = RecordDict(
        {
            _ARRAYS: ArrayRecord({_ARRAYS: Array(mean)}),
            "metrics": MetricRecord({theirs.weighted_by_key: 1}),
        }
    )
    metadata = Metadata(0, "", 0, 0, "", "", 0.0, 1.0, "train")
    with np.errstate(over="ignore", invalid="ignore"):
        arrays, _ = theirs.aggregate_train(number, [make_message(metadata, content)])
    stepped = np.asarray(arrays[_ARRAYS].numpy(), np.float32)
    if optimiser != "FedAvgM":
        return stepped, {name: getattr(theirs, name)[_ARRAYS] for name in _MOMENTS}
    momentum = theirs.momentum_vector
    return stepped, {"momentum": momentum[0]} if momentum else {}
