"""Merging accepted updates into a candidate: averages by Flower's own strategy, statistics exactly.

Updates are differences to the version that each device started from. The weights that Flower
averages are the release plus that difference, so an update that started at an earlier release
moves the candidate by what it learned and does not pull it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from headwater.objects import Vector
from headwater_models.arrays import Arrays, pack, unpack, unpack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import head_of, solve
from headwater_models.statistics import merge as sum_up

Floats = NDArray[np.float32]

_WEIGHT = "num-examples"
_ARRAYS = "arrays"


def federated_average(release: Floats, updates: Sequence[tuple[Floats, int]]) -> Floats:
    """Average with Flower's ``FedAvg`` [1]_.

    Parameters
    ----------
    release
        float32 ``[n]``, the packed weights onto which the updates are merged.
    updates
        For each device its difference, float32 ``[n]``, and the number of examples that counts.

    Returns
    -------
    numpy.ndarray
        float32 ``[n]``: release + sum(examples * difference) / sum(examples).

    References
    ----------
    .. [1] McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized
       Data, AISTATS 2017.
    """
    strategy = FedAvg(weighted_by_key=_WEIGHT)
    replies = [_reply(release + difference, weight) for difference, weight in updates]
    arrays, _ = strategy.aggregate_train(server_round=0, replies=replies)
    assert arrays is not None  # noqa: S101  # only without replies
    return np.asarray(arrays[_ARRAYS].numpy(), dtype=np.float32)


def merge(manifest: Manifest, release: Arrays, updates: Sequence[tuple[Floats, int]]) -> Arrays:
    """Return the candidate's arrays: the shared ones merged, the ``local`` ones untouched."""
    merged = federated_average(pack(manifest, release), updates)
    return {**release, **unpack(manifest, merged)}


def merge_statistics(
    manifest: Manifest,
    release: Arrays,
    contributions: Mapping[str, Vector],
    untaught: Arrays,
) -> Arrays:
    """Return the candidate's arrays: its head solved from all contributions together.

    Parameters
    ----------
    release
        The arrays of the release, whose backbone the contributions were gathered on.
    contributions
        Packed statistics, float64 ``[n]``, by device.
    untaught
        The arrays of the model as its publisher made it; its head stands where nobody contributes.

    Raises
    ------
    UnsupportedError
        When no finite head follows from the statistics.
    """
    if not contributions:
        return release | head_of(manifest, untaught)
    named = {name: unpack_statistics(manifest, vector) for name, vector in contributions.items()}
    return release | solve(manifest, sum_up(manifest, named))


def _reply(weights: Floats, examples: int) -> Message:
    """Build the message that Flower would have received from a device that sends weights."""
    content = RecordDict(
        {
            _ARRAYS: ArrayRecord({_ARRAYS: Array(weights)}),
            "metrics": MetricRecord({_WEIGHT: examples}),
        }
    )
    metadata = Metadata(
        run_id=0,
        message_id="",
        src_node_id=0,
        dst_node_id=0,
        reply_to_message_id="",
        group_id="",
        created_at=0.0,
        ttl=1.0,
        message_type="train",
    )
    return make_message(metadata, content)
